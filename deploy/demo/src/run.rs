//! `spurline-demo run`: the order of the story, and its end, whatever ends it.

use std::future::{Future, pending};
use std::process::ExitCode;

use anyhow::Result;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::args::Lifetime;
use crate::screen::{Screen, Style};
use crate::service::Version;
use crate::shop::{KEY, Map, PATH, Processes, Programs, Shop, WAIT};
use crate::{steady, steering};

/// What ended a part of the story.
#[derive(Debug)]
enum Ended<T> {
    Done(T),
    Signalled,
}

/// Starts the shop, runs the checks, stays up if asked to, and stops everything.
///
/// # Errors
/// Something of the demo itself failed; a check that did not hold is the exit code 1 instead.
pub(crate) async fn run(lifetime: Lifetime, programs: &Programs) -> Result<ExitCode> {
    let screen = Screen::of_this_process();
    let mut signals = Signals::catch()?;
    screen.heading("Starting a shop of 4 services behind 5 proxies, and a control service");
    let mut shop = tokio::select! {
        shop = Shop::start(programs) => shop?,
        () = signals.next() => return Ok(ExitCode::FAILURE),
    };
    print_map(&shop.map, screen);
    let story = tell(&mut shop, &mut signals, lifetime, screen).await;
    // A second signal drops the shop, which kills what still runs.
    tokio::select! {
        killed = shop.stop() => report_stop(&killed, screen),
        () = signals.next() => screen.step("killed what was still running"),
    }
    Ok(if story? { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Returns whether all checks held.
async fn tell(shop: &mut Shop, signals: &mut Signals, lifetime: Lifetime, screen: Screen) -> Result<bool> {
    let Shop { processes, map, .. } = shop;
    let checks = async {
        create(map, screen).await?;
        Ok(steering::run(map, screen).await? & steady::run(map, screen).await?)
    };
    let held = match attend(checks, processes, signals).await? {
        Ended::Done(held) => held,
        Ended::Signalled => return Ok(false),
    };
    screen.line("");
    let verdict = if held {
        "every request was answered by whom it should have been"
    } else {
        "not every request was answered by whom it should have been, see ✗ above"
    };
    screen.verdict(held, verdict);
    if lifetime == Lifetime::UntilSignal {
        print_hints(map, screen);
        attend(pending::<Result<()>>(), processes, signals).await?;
        screen.line("");
    }
    Ok(held)
}

/// Creates alice's sandbox as a person or a pipeline would: one PUT, answered once every proxy has it.
async fn create(map: &Map, screen: Screen) -> Result<()> {
    screen.heading("Creating alice's sandbox over REST");
    screen.step(&format!("PUT http://{}{PATH}?{WAIT}", map.control.rest));
    let change = map.sandbox().change(Version::Fork, map.proxies().len()).await?;
    let took = screen.paint(&format!("{} ms", change.took().as_millis()), Style::Bold);
    screen.verdict(true, &format!("programmed {0}/{0} after {took}: every proxy has it", change.proxies));
    Ok(())
}

/// Runs `work` until it is done, a signal comes, or a child dies, which is an error.
async fn attend<T>(
    work: impl Future<Output = Result<T>>,
    processes: &mut Processes,
    signals: &mut Signals,
) -> Result<Ended<T>> {
    tokio::select! {
        biased;
        () = signals.next() => Ok(Ended::Signalled),
        death = processes.first_death() => Err(anyhow::anyhow!("{}", death?)),
        done = work => done.map(Ended::Done),
    }
}

fn print_map(map: &Map, screen: Screen) {
    screen.step("curl ─► gateway ─► frontend ─► cart ──────────────────► inventory");
    screen.step("                               └─key─► cart@alice ─┘");
    screen.step(&format!("key of alice's sandbox: {}", screen.paint(KEY, Style::Bold)));
    let (gateway, control) = (map.gateway.listen, &map.control);
    screen.step(&format!("gateway http://{gateway}   control http://{} (REST)", control.rest));
}

fn print_hints(map: &Map, screen: Screen) {
    let shop = format!("http://{}/orders/1", map.gateway.listen);
    screen.heading("The shop stays up. Try:");
    for line in [
        format!("curl {shop}"),
        format!("curl -H 'baggage: sd-routing-key={KEY}' {shop}"),
        format!("curl -H 'sd-routing-key: {KEY}' {shop}"),
        format!("curl -i -H 'sd-routing-key: {KEY}' -H 'x-spurline-explain: 1' {shop}"),
        format!("curl -i -H 'sd-routing-key: nobody' -H 'x-spurline-strict: 1' {shop}"),
    ] {
        screen.step(&line);
    }
    screen.heading("Or delete the sandbox, read it, and create it again while it runs:");
    for command in map.sandbox().commands() {
        screen.step(&command);
    }
    screen.heading("And look inside the proxies:");
    for proxy in map.proxies() {
        let width = map.proxies().iter().map(|proxy| proxy.name.len()).max().unwrap_or_default();
        screen.step(&format!(
            "{:width$}  curl http://{}/routes   (also /metrics, /config_dump)",
            proxy.name, proxy.admin
        ));
    }
    screen.heading("Ctrl-C stops everything.");
}

fn report_stop(killed: &[String], screen: Screen) {
    if killed.is_empty() {
        screen.step("all processes have stopped");
    } else {
        screen.verdict(false, &format!("did not stop by themselves and were killed: {}", killed.join(", ")));
    }
}

/// The signals that end the demo: Ctrl-C, a polite kill, a terminal that closes.
#[derive(Debug)]
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

// === impl Signals ===

impl Signals {
    fn catch() -> Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }
}
