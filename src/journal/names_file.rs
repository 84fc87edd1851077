//! The names of customers and gateways on disk, in the order of their ids: what the integers in records mean.
//!
//! A name is durable before the first record that has its id. Each stands in a frame of its own with its id, so one
//! that is damaged takes no other with it.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::frame::{self, FrameKind, Header, Step, step};
use crate::event::Names;
use crate::limits::{ID_BYTES_MAX, NAMES_MAX};
use crate::storage::{Disk, DiskFile};

const FILE: &str = "names";
const FILE_BYTES_MAX: u64 = 2 * (NAMES_MAX as u64) * (frame::HEADER_BYTES + ID_BYTES_MAX) as u64;

/// Appends names as they are learned.
#[derive(Debug)]
pub struct NamesFile {
    disk: Disk,
    path: PathBuf,
    names: Arc<Names>,
    /// `None` where the file must be written anew: it is damaged, or an append failed.
    file: Option<DiskFile>,
    n_customers: usize,
    n_gateways: usize,
}

impl NamesFile {
    /// The names of the folder, with the ids they had, and how many of them could not be read: those are called
    /// `lost-ID` from now on. Nobody may have asked for a name before.
    pub fn open(disk: &Disk, folder: &Path) -> io::Result<(NamesFile, u64)> {
        let path = folder.join(FILE);
        let bytes = match disk.read(&path, FILE_BYTES_MAX) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Vec::new(),
            other => other?,
        };
        let names = Arc::new(Names::new());
        let read = restore(&bytes, &names);
        if let Some(version) = read.newer {
            let text = format!("{}: format {version} is newer than this build reads", path.display());
            return Err(io::Error::new(io::ErrorKind::Unsupported, text));
        }
        // A file with a flaw is replaced by a good one before anything is added.
        let file = if read.is_whole && !bytes.is_empty() { Some(disk.append(&path)?) } else { None };
        let (n_customers, n_gateways) = (read.n_customers, read.n_gateways);
        Ok((NamesFile { disk: disk.clone(), path, names, file, n_customers, n_gateways }, read.n_lost))
    }

    pub fn names(&self) -> &Arc<Names> {
        &self.names
    }

    /// Records were found with ids below these: those whose names are gone with the end of the file get the names
    /// `lost-ID`, so that nobody else gets their ids. How many there were.
    pub fn cover(&self, n_customers: usize, n_gateways: usize) -> u64 {
        let (known_customers, known_gateways) = self.names.n_known();
        for id in known_customers..n_customers.min(NAMES_MAX) {
            self.names.customer(&format!("lost-{id}"));
        }
        for id in known_gateways..n_gateways.min(NAMES_MAX) {
            self.names.gateway(&format!("lost-{id}"));
        }
        (n_customers.saturating_sub(known_customers) + n_gateways.saturating_sub(known_gateways)) as u64
    }

    /// Makes every name that is known by now durable. After an error the next call does all of it again.
    pub fn catch_up(&mut self) -> io::Result<()> {
        let (n_customers, n_gateways) = self.names.n_known();
        if let Some(mut file) = self.file.take() {
            if (n_customers, n_gateways) != (self.n_customers, self.n_gateways) {
                file.write_all(&self.encoded(self.n_customers..n_customers, self.n_gateways..n_gateways))?;
                file.sync()?;
            }
            self.file = Some(file);
        } else {
            let all = self.encoded(0..n_customers, 0..n_gateways);
            self.disk.replace_file(&self.path, |file| file.write_all(&all))?;
            self.file = Some(self.disk.append(&self.path)?);
        }
        (self.n_customers, self.n_gateways) = (n_customers, n_gateways);
        Ok(())
    }

    fn encoded(&self, customers: std::ops::Range<usize>, gateways: std::ops::Range<usize>) -> Vec<u8> {
        let mut out = Vec::new();
        let mut put = |kind, id: usize, name: &str| {
            let header = Header { kind, n_events: 0, number: id as u64, position: 0, n_uncommitted: 0 };
            frame::append(&header, &mut out, name.as_bytes());
        };
        for id in customers {
            put(FrameKind::Customer, id, self.names.customer_text(crate::event::CustomerId(id as u32)));
        }
        for id in gateways {
            put(FrameKind::Gateway, id, self.names.gateway_text(crate::event::GatewayId(id as u32)));
        }
        out
    }
}

/// What a file of names gave.
struct Restored {
    is_whole: bool,
    n_lost: u64,
    newer: Option<u8>,
    n_customers: usize,
    n_gateways: usize,
}

fn restore(bytes: &[u8], names: &Names) -> Restored {
    let (mut at, mut is_whole, mut n_lost) = (0, true, 0);
    let mut newer = None;
    loop {
        match step(bytes, at) {
            Step::Frame(frame) => {
                at = frame.place.end;
                is_whole &= frame.n_mended == 0;
                n_lost += learn(&frame.header, &frame.payload, names);
            }
            Step::Damage(place) => {
                at = place.end;
                is_whole = false;
            }
            Step::Newer(version) => {
                newer = Some(version);
                break;
            }
            Step::End => break,
        }
    }
    let (n_customers, n_gateways) = names.n_known();
    Restored { is_whole: is_whole && n_lost == 0, n_lost, newer, n_customers, n_gateways }
}

/// Gives a name its id, and those before it that are missing a name too; how many of these there were.
fn learn(header: &Header, name: &[u8], names: &Names) -> u64 {
    let (n_customers, n_gateways) = names.n_known();
    let (is_customer, n_known) = match header.kind {
        FrameKind::Customer => (true, n_customers as u64),
        FrameKind::Gateway => (false, n_gateways as u64),
        _ => return 0,
    };
    let Ok(name) = std::str::from_utf8(name) else { return 0 };
    if header.number < n_known || header.number >= NAMES_MAX as u64 {
        return 0;
    }
    let add = |name: &str| match is_customer {
        true => names.customer(name).map(|id| id.0),
        false => names.gateway(name).map(|id| id.0),
    };
    for id in n_known..header.number {
        add(&format!("lost-{id}"));
    }
    add(name);
    header.number - n_known
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::{Faults, Operation};

    fn told(names: &Names) -> Vec<String> {
        let (n_customers, n_gateways) = names.n_known();
        let customers = (0..n_customers).map(|id| names.customer_name(crate::event::CustomerId(id as u32)));
        customers.chain((0..n_gateways).map(|id| names.gateway_name(crate::event::GatewayId(id as u32)))).collect()
    }

    fn open(folder: &Path) -> (NamesFile, u64) {
        NamesFile::open(&Disk::real(), folder).expect("opens")
    }

    #[test]
    fn names_have_the_ids_they_had_and_new_ones_come_behind() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for round in 0..3 {
            let (mut file, n_lost) = open(folder.path());
            assert_eq!(n_lost, 0);
            assert_eq!(file.names().n_known(), (1 + round, 1 + 2 * round));
            file.names().gateway(&format!("a{round}"));
            file.catch_up().expect("writes");
            file.names().customer(&format!("c{round}"));
            file.names().gateway(&format!("b{round}"));
            file.catch_up().expect("writes");
        }
        let expected = "default c0 c1 c2 file a0 b0 a1 b1 a2 b2";
        assert_eq!(told(open(folder.path()).0.names()).join(" "), expected);
    }

    #[test]
    fn a_name_that_is_gone_leaves_its_id_to_nobody_else() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (mut file, _) = open(folder.path());
        for name in ["acme", "globex", "initech"] {
            file.names().customer(name);
        }
        file.catch_up().expect("writes");
        let path = folder.path().join(FILE);
        let whole = std::fs::read(&path).expect("reads");
        let all = told(file.names());
        for at in 0..whole.len() {
            for (damaged, _) in [
                (whole[..at].to_vec(), "cut"),
                ([&whole[..at], &[!whole[at]], &whole[at + 1..]].concat(), "wrong"),
                ([&whole[..at], &[whole[at] ^ 4], &whole[at + 1..]].concat(), "flipped"),
            ] {
                std::fs::write(&path, &damaged).expect("writes");
                let (mut file, n_lost) = open(folder.path());
                let (n_customers, _) = file.names().n_known();
                let now = told(file.names());
                let customers = all.iter().zip(&now).take(n_customers);
                assert!(customers.enumerate().all(|(id, (a, b))| a == b || *b == format!("lost-{id}")), "{now:?}");
                assert!(n_lost <= 1);
                file.catch_up().expect("writes");
                assert_eq!(told(open(folder.path()).0.names()), now, "what was made of it stays");
            }
        }
    }

    #[test]
    fn an_append_that_fails_is_made_good_by_the_next() {
        for operation in [Operation::Write, Operation::Sync, Operation::Create, Operation::Rename] {
            for k in 1..4 {
                let folder = tempfile::tempdir().expect("a temporary folder");
                let faults = Arc::new(Faults::default());
                faults.fail(Some(operation), k, 1);
                let disk = Disk::failing(Arc::clone(&faults));
                let (mut file, _) = NamesFile::open(&disk, folder.path()).expect("opens");
                for name in ["a", "b", "c"] {
                    file.names().customer(name);
                    if file.catch_up().is_err() {
                        file.catch_up().expect("one fault, one failure");
                    }
                    assert_eq!(told(open(folder.path()).0.names()), told(file.names()), "{operation:?} {k}");
                }
            }
        }
    }
}
