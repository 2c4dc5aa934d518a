//! Where everything of the shop is, and the command lines that put it there.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::admin;
use super::control::Control;
use super::sandbox::{SERVICE_PORT, Sandbox};
use crate::service::Version;

const READY_TIMEOUT: Duration = Duration::from_secs(20);
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Every address of the shop.
#[derive(Clone, Debug)]
pub(crate) struct Map {
    pub(crate) gateway: Proxy,
    pub(crate) frontend: Member,
    pub(crate) cart: Member,
    pub(crate) inventory: Member,
    /// The fork of `cart`. It has its own proxy, as every pod has.
    pub(crate) fork: Member,
    pub(crate) control: Control,
}

/// One proxy process.
#[derive(Clone, Debug)]
pub(crate) struct Proxy {
    pub(crate) name: String,
    pub(crate) listen: SocketAddr,
    pub(crate) admin: SocketAddr,
}

/// A service with its proxy.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) proxy: Proxy,
    app: SocketAddr,
}

/// A name for messages and the log file, and the arguments of the program.
pub(super) type Named = (String, Vec<String>);

// === impl Map ===

impl Map {
    /// Draws a map on ports that are free now; what the control service keeps will be in `dir`.
    pub(crate) fn on_free_ports(dir: &Path) -> Result<Self> {
        let mut ports = FreePorts::default();
        let gateway = ports.proxy("gateway")?;
        let frontend = ports.member("frontend")?;
        let cart = ports.member("cart")?;
        let inventory = ports.member("inventory")?;
        let fork = ports.member("cart-alice")?;
        let control = Control::new([ports.next()?, ports.next()?, ports.next()?], dir);
        Ok(Self { gateway, frontend, cart, inventory, fork, control })
    }

    pub(crate) fn proxies(&self) -> [&Proxy; 5] {
        let Self { gateway, frontend, cart, inventory, fork, control: _ } = self;
        [gateway, &frontend.proxy, &cart.proxy, &inventory.proxy, &fork.proxy]
    }

    /// Alice's sandbox. Creating it is somebody else's business.
    pub(crate) fn sandbox(&self) -> Sandbox {
        Sandbox::new(self.control.rest, self.fork.proxy.listen)
    }

    fn members(&self) -> [&Member; 4] {
        [&self.frontend, &self.cart, &self.inventory, &self.fork]
    }

    /// Each service calls the next one by the address of that one's proxy; in a cluster redirection does this.
    pub(crate) fn service_commands(&self) -> Vec<Named> {
        let Self { frontend, cart, inventory, fork, .. } = self;
        vec![
            frontend.service("frontend", Version::Baseline, Some(cart)),
            cart.service("cart", Version::Baseline, Some(inventory)),
            inventory.service("inventory", Version::Baseline, None),
            fork.service("cart", Version::Fork, Some(inventory)),
        ]
    }

    pub(crate) fn proxy_commands(&self) -> Vec<Named> {
        // A gateway in front of strangers keeps its default, `trust=none`, and drops their keys. Here the
        // stranger is the reader with curl, whose key has to count.
        let gateway = &self.gateway;
        let entry = format!(
            "workload=shop/Deployment/frontend,baseline={},role=gateway,trust=all",
            self.frontend.proxy.listen
        );
        let mut commands = vec![gateway.command(&self.control, &entry)];
        for member in self.members() {
            let workload = format!("workload=shop/Deployment/{},baseline={}", member.proxy.name, member.app);
            commands.push(member.proxy.command(&self.control, &workload));
        }
        commands
    }

    /// Waits until the control service answers, every service accepts connections and every proxy calls itself ready.
    pub(crate) async fn ready(&self) -> Result<()> {
        until(async || self.control.is_ready().await).await.context("control service")?;
        for member in self.members() {
            let name = &member.proxy.name;
            until(async || TcpStream::connect(member.app).await.is_ok())
                .await
                .with_context(|| name.clone())?;
        }
        for proxy in self.proxies() {
            let name = &proxy.name;
            until(async || admin::is_ready(proxy.admin).await)
                .await
                .with_context(|| format!("proxy of {name}"))?;
        }
        Ok(())
    }

    /// Whether somebody else holds a port of this map. Ask only when the shop's own processes do not.
    pub(crate) fn is_any_port_taken(&self) -> bool {
        let proxies = self.proxies().map(|proxy| [proxy.listen, proxy.admin]);
        let apps = self.members().map(|member| member.app);
        let control = self.control.addresses();
        proxies.iter().flatten().chain(&apps).chain(&control).any(|addr| TcpListener::bind(addr).is_err())
    }
}

async fn until(condition: impl AsyncFn() -> bool) -> Result<()> {
    let poll = async {
        while !condition().await {
            sleep(POLL_INTERVAL).await;
        }
    };
    timeout(READY_TIMEOUT, poll).await.with_context(|| format!("not ready after {READY_TIMEOUT:?}"))
}

// === impl Member ===

impl Member {
    fn service(&self, name: &str, version: Version, next: Option<&Self>) -> Named {
        let mut args = ["service", "--name", name, "--version", version.label()].map(str::to_owned).to_vec();
        args.extend(["--listen".to_owned(), self.app.to_string()]);
        if let Some(next) = next {
            args.extend(["--next".to_owned(), format!("http://{}", next.proxy.listen)]);
        }
        (format!("{}.service", self.proxy.name), args)
    }
}

// === impl Proxy ===

impl Proxy {
    /// `serves`: what stands behind the listener, in the syntax of `--listener`.
    fn command(&self, control: &Control, serves: &str) -> Named {
        let Self { name, listen, admin } = self;
        let listener = format!("name={name},listen={listen},port={SERVICE_PORT},{serves}");
        let settings = [
            ("--listener", listener),
            ("--admin-listen", admin.to_string()),
            ("--control", format!("http://{}", control.grpc)),
            // Ten processes share this machine.
            ("--workers", "1".to_owned()),
            // Nobody balances over these proxies, so nobody has to be told before they stop accepting.
            ("--drain-delay", "0s".to_owned()),
            ("--drain-timeout", "3s".to_owned()),
        ];
        let args = settings.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]).collect();
        (format!("{name}.proxy"), args)
    }
}

/// Free loopback ports. Each one is held until all are drawn, so that none is drawn twice.
#[derive(Debug, Default)]
struct FreePorts {
    held: Vec<TcpListener>,
}

// === impl FreePorts ===

impl FreePorts {
    fn next(&mut self) -> Result<SocketAddr> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port on loopback")?;
        let addr = listener.local_addr()?;
        self.held.push(listener);
        Ok(addr)
    }

    fn proxy(&mut self, name: &str) -> Result<Proxy> {
        Ok(Proxy { name: name.to_owned(), listen: self.next()?, admin: self.next()? })
    }

    fn member(&mut self, name: &str) -> Result<Member> {
        Ok(Member { proxy: self.proxy(name)?, app: self.next()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_is_its_own() -> Result<()> {
        let map = Map::on_free_ports(Path::new("nowhere"))?;
        let mut all: Vec<SocketAddr> = map.members().map(|member| member.app).to_vec();
        all.extend(map.proxies().iter().flat_map(|proxy| [proxy.listen, proxy.admin]));
        all.extend(map.control.addresses());
        let drawn = all.len();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), drawn);
        Ok(())
    }

    #[test]
    fn a_port_somebody_took_is_noticed() -> Result<()> {
        let map = Map::on_free_ports(Path::new("nowhere"))?;
        let _taken = TcpListener::bind(map.cart.proxy.admin)?;
        assert!(map.is_any_port_taken());
        Ok(())
    }

    #[test]
    fn both_copies_of_cart_call_the_same_inventory() -> Result<()> {
        let map = Map::on_free_ports(Path::new("nowhere"))?;
        let inventory = format!("http://{}", map.inventory.proxy.listen);
        let callers: Vec<String> = map
            .service_commands()
            .into_iter()
            .filter(|(_, args)| args.contains(&inventory))
            .map(|(name, _)| name)
            .collect();
        assert_eq!(callers, ["cart.service", "cart-alice.service"]);
        Ok(())
    }
}
