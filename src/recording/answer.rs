//! The callback that a result is handed to, and what it gets when there is none.

use std::fmt;

type Done<T> = Box<dyn FnOnce(T) + Send>;

/// Hands one result to a callback. Dropped unused, because its job was refused or expired, it hands over the refusal.
///
/// A panicking job drops the callback uncalled: a second panic inside it would end the process.
pub(super) struct Answer<T> {
    pending: Option<(Done<T>, T)>,
}

impl<T> Answer<T> {
    /// Calls `done` with the result given, else with `refusal`.
    pub(super) fn new(done: impl FnOnce(T) + Send + 'static, refusal: T) -> Answer<T> {
        Answer { pending: Some((Box::new(done), refusal)) }
    }

    /// Hands over the result.
    pub(super) fn give(mut self, result: T) {
        if let Some((done, _)) = self.pending.take() {
            done(result);
        }
    }
}

impl<T> Drop for Answer<T> {
    fn drop(&mut self) {
        if let Some((done, refusal)) = self.pending.take()
            && !std::thread::panicking()
        {
            done(refusal);
        }
    }
}

impl<T> fmt::Debug for Answer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer").field("is_given", &self.pending.is_none()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::mpsc::{RecvError, sync_channel};

    #[test]
    fn a_result_or_the_refusal_is_handed_over_once() {
        let (tell, told) = sync_channel(2);
        let answer = || {
            Answer::new(
                {
                    let tell = tell.clone();
                    move |result| tell.send(result).unwrap()
                },
                "refused",
            )
        };
        answer().give("result");
        drop(answer());
        assert_eq!((told.recv(), told.recv()), (Ok("result"), Ok("refused")));
        assert!(told.try_recv().is_err());
    }

    #[test]
    fn a_panic_drops_the_callback_uncalled() {
        let (tell, told) = sync_channel(1);
        let answer = Answer::new(move |result| tell.send(result).unwrap(), ());
        let job = move || {
            let _answer = answer;
            std::panic::resume_unwind(Box::new(()));
        };
        assert!(catch_unwind(AssertUnwindSafe(job)).is_err());
        assert_eq!(told.recv(), Err(RecvError));
    }
}
