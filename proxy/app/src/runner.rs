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
    /// It is among those that are idle.
    is_idle: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

/// The jobs of one task, one after the other.
pub(crate) struct Jobs<J> {
    runners: Rc<Runners<J>>,
    runner: Rc<Runner<J>>,
}

// === impl Runners ===

impl<J: 'static> Runners<J> {
    pub(crate) fn new() -> Rc<Self> {
        Rc::new(Self { idle: RefCell::default() })
    }

    /// Has a task do the job: `serve`, which must be the same each time, does one after the other until there are no more.
    /// A job ends with its task at the latest when the runtime does.
    ///
    /// The future of a job is large, and a part of its task that is made once for all of them.
    pub(crate) fn run<F: Future<Output = ()> + 'static>(self: &Rc<Self>, job: J, serve: fn(Jobs<J>) -> F) {
        if let Some(runner) = self.idle.borrow_mut().pop() {
            runner.is_idle.set(false);
            runner.job.set(Some(job));
            if let Some(waker) = runner.waker.borrow().as_ref() {
                waker.wake_by_ref();
            }
            return;
        }
        let (job, is_idle) = (Cell::new(Some(job)), Cell::new(false));
        let runner = Rc::new(Runner { job, is_idle, waker: RefCell::default() });
        tokio::task::spawn_local(serve(Jobs { runners: Rc::clone(self), runner }));
    }
}

// === impl Jobs ===

impl<J> Jobs<J> {
    /// The next job. `None`: there are enough tasks without this one.
    pub(crate) async fn next(&mut self) -> Option<J> {
        poll_fn(|cx| {
            if let Some(job) = self.runner.job.take() {
                return Poll::Ready(Some(job));
            }
            if !self.runner.is_idle.get() {
                let mut idle = self.runners.idle.borrow_mut();
                if idle.len() >= IDLE_MAX {
                    return Poll::Ready(None);
                }
                self.runner.is_idle.set(true);
                idle.push(Rc::clone(&self.runner));
            }
            let mut waker = self.runner.waker.borrow_mut();
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

    async fn count(mut jobs: Jobs<usize>) {
        while jobs.next().await.is_some() {
            tokio::task::yield_now().await;
            DONE.set(DONE.get() + 1);
        }
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
