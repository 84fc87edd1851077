//! Files that outlive a process. The only place that creates and renames them.
//!
//! What must survive a crash is opened through a [`Disk`]: the real one in the service, one that fails by plan in
//! tests. It knows nothing of what the files hold.

mod aside;
mod copy;
mod disk;
mod faults;
mod lock;
mod rotated;
mod staged;

pub use aside::{put_in_place, set_aside, sync_folder_of};
pub use disk::{Disk, DiskFile, Listed};
pub use faults::{Faults, Operation};
pub use lock::{FolderLock, holder_of};
pub use rotated::RotatedFile;
pub use staged::{Staged, create_folders, create_secret, remove_if_there};
