//! A value that is replaced as a whole while others go on reading it: rules, customers' files, what feeds go by.
//!
//! Whoever reads takes a share and keeps it for as long as one piece of work; what comes next reads again.

use std::sync::{Arc, RwLock};

/// See the module. Clones are the same place.
#[derive(Debug)]
pub struct Current<T>(Arc<RwLock<Arc<T>>>);

impl<T> Clone for Current<T> {
    fn clone(&self) -> Current<T> {
        Current(Arc::clone(&self.0))
    }
}

impl<T> From<Arc<T>> for Current<T> {
    fn from(value: Arc<T>) -> Current<T> {
        Current(Arc::new(RwLock::new(value)))
    }
}

impl<T> Current<T> {
    pub fn get(&self) -> Arc<T> {
        Arc::clone(&self.0.read().unwrap_or_else(|poisoned| poisoned.into_inner()))
    }

    /// What was there before, to be let go of where nobody waits for it.
    pub fn set(&self, value: Arc<T>) -> Arc<T> {
        let mut place = self.0.write().unwrap_or_else(|poisoned| poisoned.into_inner());
        std::mem::replace(&mut *place, value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_who_read_keep_what_they_took_and_clones_see_what_is_set() {
        let place = Current::from(Arc::new(1));
        let (other, taken) = (place.clone(), place.get());
        assert_eq!(*other.set(Arc::new(2)), 1);
        assert_eq!((*taken, *place.get()), (1, 2));
    }
}
