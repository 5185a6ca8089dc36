//! A callback that is called exactly once, with a fallback result.

type Done<T> = Box<dyn FnOnce(T) + Send>;

/// A callback for one result. If dropped uncalled, because its job was refused or expired, it is
/// called with the refusal.
///
/// Not called during a panic: a second panic inside the callback would abort the process.
pub(super) struct Callback<T> {
    pending: Option<(Done<T>, T)>,
}

impl<T> Callback<T> {
    /// Calls `done` with the result, or with `refusal` if dropped.
    pub(super) fn new(done: impl FnOnce(T) + Send + 'static, refusal: T) -> Callback<T> {
        Callback {
            pending: Some((Box::new(done), refusal)),
        }
    }

    pub(super) fn call(mut self, result: T) {
        if let Some((done, _)) = self.pending.take() {
            done(result);
        }
    }
}

impl<T> Drop for Callback<T> {
    fn drop(&mut self) {
        if let Some((done, refusal)) = self.pending.take()
            && !std::thread::panicking()
        {
            done(refusal);
        }
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
        let callback = || {
            Callback::new(
                {
                    let tell = tell.clone();
                    move |result| tell.send(result).unwrap()
                },
                "refused",
            )
        };
        callback().call("result");
        drop(callback());
        assert_eq!((told.recv(), told.recv()), (Ok("result"), Ok("refused")));
        assert!(told.try_recv().is_err());
    }

    #[test]
    fn a_panic_drops_the_callback_uncalled() {
        let (tell, told) = sync_channel(1);
        let callback = Callback::new(move |result| tell.send(result).unwrap(), ());
        let job = move || {
            let _callback = callback;
            std::panic::resume_unwind(Box::new(()));
        };
        assert!(catch_unwind(AssertUnwindSafe(job)).is_err());
        assert_eq!(told.recv(), Err(RecvError));
    }
}
