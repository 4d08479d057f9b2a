//! The GPUs of a worker, each of which one work has at a time.
//!
//! A work that asks for more than are free waits for them, in the order in which works came: so one that needs many is not
//! passed over for ever. Its time begins when it has them.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wire_protocol::outcome::Reason;

use super::NotRun;

/// All of them. Shared by the executors.
#[derive(Debug)]
pub struct Gpus {
    /// What the driver calls them, as `0` or `GPU-5f1c…`.
    ids: Vec<String>,
    /// Places in `ids` that nobody has.
    free: Mutex<BTreeSet<usize>>,
    /// As many permits as places are free.
    count: Arc<Semaphore>,
}

/// Those that a work has; they are free again when this is dropped.
#[derive(Debug)]
pub(super) struct Taken {
    gpus: Arc<Gpus>,
    places: Vec<usize>,
    // Given back after the places: whoever is let in finds them.
    _permit: Option<OwnedSemaphorePermit>,
}

impl Gpus {
    /// These, by what the driver calls them. None may be there twice.
    #[must_use]
    pub fn new(ids: Vec<String>) -> Arc<Self> {
        Arc::new(Self {
            free: Mutex::new((0..ids.len()).collect()),
            count: Arc::new(Semaphore::new(ids.len())),
            ids,
        })
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// There are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Waits until so many are free, and takes them.
    pub(super) async fn take(self: &Arc<Self>, wanted: u32) -> Result<Taken, NotRun> {
        if wanted == 0 {
            return Ok(self.none());
        }
        if wanted as usize > self.len() {
            let text = format!("the work needs {wanted} GPUs, and this worker has {}", self.len());
            return Err(NotRun(Reason::NoRoom, text));
        }
        let permit = Arc::clone(&self.count).acquire_many_owned(wanted).await;
        let permit = permit.expect("nobody closes it");
        let mut free = self.free();
        let places: Vec<usize> = (0..wanted).filter_map(|_| free.pop_first()).collect();
        assert_eq!(places.len(), wanted as usize, "there are as many as permits");
        drop(free);
        Ok(Taken {
            gpus: Arc::clone(self),
            places,
            _permit: Some(permit),
        })
    }

    /// Takes those of this name for a work that has them already. What the worker does not have any more, or what
    /// somebody else has, is left out.
    pub(super) fn take_again(self: &Arc<Self>, ids: &[String]) -> Taken {
        let mut taken = self.none();
        let mut free = self.free();
        let known = |id: &String| self.ids.iter().position(|known| known == id);
        let places: Vec<usize> = ids
            .iter()
            .filter_map(known)
            .filter(|place| free.contains(place))
            .collect();
        let count = u32::try_from(places.len()).unwrap_or(u32::MAX);
        if let Ok(permit) = Arc::clone(&self.count).try_acquire_many_owned(count) {
            places.iter().for_each(|place| {
                free.remove(place);
            });
            taken.places = places;
            taken._permit = Some(permit);
        }
        drop(free);
        taken
    }

    fn none(self: &Arc<Self>) -> Taken {
        Taken {
            gpus: Arc::clone(self),
            places: Vec::new(),
            _permit: None,
        }
    }

    fn free(&self) -> MutexGuard<'_, BTreeSet<usize>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    /// What the driver calls them.
    pub(super) fn ids(&self) -> Vec<String> {
        self.places
            .iter()
            .map(|place| self.gpus.ids[*place].clone())
            .collect()
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.gpus.free().extend(self.places.drain(..));
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn gpus(count: usize) -> Arc<Gpus> {
        Gpus::new((0..count).map(|number| number.to_string()).collect())
    }

    fn now<T>(future: impl Future<Output = T>) -> Option<T> {
        match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(value) => Some(value),
            Poll::Pending => None,
        }
    }

    fn take(gpus: &Arc<Gpus>, wanted: u32) -> Option<Taken> {
        now(gpus.take(wanted)).map(|taken| taken.unwrap_or_else(|NotRun(_, text)| panic!("{text}")))
    }

    #[test]
    fn no_two_works_have_the_same_and_they_come_back() {
        let gpus = gpus(3);
        let (one, two) = (take(&gpus, 1).expect("free"), take(&gpus, 2).expect("free"));
        assert_eq!(
            (one.ids(), two.ids()),
            (vec!["0".to_owned()], vec!["1".to_owned(), "2".to_owned()])
        );
        assert!(take(&gpus, 1).is_none(), "all are taken");
        assert_eq!(
            take(&gpus, 0).map(|none| none.ids().len()),
            Some(0),
            "who needs none has none"
        );
        drop(two);
        assert_eq!(take(&gpus, 1).expect("free").ids(), ["1"]);
    }

    #[test]
    fn one_that_needs_many_is_not_passed_over() {
        let gpus = gpus(2);
        let one = take(&gpus, 1).expect("free");
        let mut many = pin!(gpus.take(2));
        let mut context = Context::from_waker(Waker::noop());
        assert!(many.as_mut().poll(&mut context).is_pending());
        assert!(take(&gpus, 1).is_none(), "the one before waits longer");
        drop(one);
        assert!(matches!(many.as_mut().poll(&mut context), Poll::Ready(Ok(_))));
    }

    #[test]
    fn more_than_there_are_is_refused_at_once() {
        let refused = now(gpus(1).take(2)).expect("at once");
        assert!(matches!(refused, Err(NotRun(Reason::NoRoom, text)) if text.contains("needs 2 GPUs")));
    }

    #[test]
    fn a_work_that_is_taken_up_keeps_its_own() {
        let gpus = gpus(3);
        let again = gpus.take_again(&["1".to_owned(), "gone".to_owned()]);
        assert_eq!(again.ids(), ["1"]);
        assert_eq!(
            gpus.take_again(&["1".to_owned()]).ids(),
            [""; 0],
            "another has it"
        );
        assert_eq!(take(&gpus, 2).expect("free").ids(), ["0", "2"]);
    }
}
