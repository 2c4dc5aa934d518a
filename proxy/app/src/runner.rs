//! Tasks that serve one stream after the other. A stream is often over in microseconds, of which the making of a task
//! would be a good part.

use std::{
    cell::{Cell, RefCell},
    future::{Future, poll_fn},
    rc::Rc,
    task::{Poll, Waker},
};

/// Tasks that are kept while there is nothing to do.
const IDLE_MAX: usize = 256;

/// The tasks of one worker, for jobs of one kind.
pub(crate) struct Runners<J> {
    idle: RefCell<Vec<Rc<Runner<J>>>>,
}

/// Where a task finds its next job.
struct Runner<J> {
    job: Cell<Option<J>>,
    waker: RefCell<Option<Waker>>,
}

// === impl Runners ===

impl<J: 'static> Runners<J> {
    pub(crate) fn new() -> Rc<Self> {
        Rc::new(Self { idle: RefCell::default() })
    }

    /// Has a task do the job, by `serve`, which must be the same each time. A job ends with its task at the latest when
    /// the runtime does.
    pub(crate) fn run<F: Future<Output = ()> + 'static>(self: &Rc<Self>, job: J, serve: fn(J) -> F) {
        if let Some(runner) = self.idle.borrow_mut().pop() {
            runner.job.set(Some(job));
            if let Some(waker) = runner.waker.borrow().as_ref() {
                waker.wake_by_ref();
            }
            return;
        }
        let runner = Rc::new(Runner { job: Cell::new(Some(job)), waker: RefCell::default() });
        let runners = Rc::clone(self);
        tokio::task::spawn_local(async move {
            loop {
                let job = runner.next().await;
                serve(job).await;
                let mut idle = runners.idle.borrow_mut();
                if idle.len() >= IDLE_MAX {
                    return;
                }
                idle.push(Rc::clone(&runner));
            }
        });
    }
}

// === impl Runner ===

impl<J> Runner<J> {
    async fn next(&self) -> J {
        poll_fn(|cx| {
            if let Some(job) = self.job.take() {
                return Poll::Ready(job);
            }
            let mut waker = self.waker.borrow_mut();
            if waker.as_ref().is_none_or(|waker| !waker.will_wake(cx.waker())) {
                *waker = Some(cx.waker().clone());
            }
            Poll::Pending
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    thread_local! {
        static DONE: Cell<usize> = const { Cell::new(0) };
    }

    async fn count(_: usize) {
        tokio::task::yield_now().await;
        DONE.set(DONE.get() + 1);
    }

    #[tokio::test(flavor = "local")]
    async fn every_job_is_done_once_and_tasks_are_used_again() {
        let runners = Runners::new();
        for round in 1..=3 {
            (0..IDLE_MAX + 9).for_each(|job| runners.run(job, count));
            while DONE.get() < round * (IDLE_MAX + 9) {
                tokio::task::yield_now().await;
            }
            tokio::task::yield_now().await;
            assert_eq!(runners.idle.borrow().len(), IDLE_MAX);
        }
    }
}
