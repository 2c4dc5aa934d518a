//! What a strict request gets while the control service has not said everything yet: its fork or a refusal, and the
//! baseline only where that is what was asked for.

use super::*;
use spurline_tests::RawClient;

/// Two workloads beside one proxy, as its listeners.
const CART: &str = "shop/Deployment/cart";
const WEB: &str = "shop/Deployment/web";

struct Pair {
    fork: Recorder,
    _baseline: Recorder,
    proxy: TestProxy,
}

impl Pair {
    fn start(url: &str) -> Self {
        let [baseline, fork] = ["baseline", "fork"].map(Recorder::start);
        let proxy = TestProxy::build()
            .sidecar("cart", CART, &[baseline.address()])
            .sidecar("web", WEB, &[baseline.address()])
            .flag("--control", url)
            .flag("--control-ready-timeout", "200ms")
            .start();
        Self { fork, _baseline: baseline, proxy }
    }

    /// Who answers at a listener, or why nobody does.
    fn by(&self, listener: &str, key: &str, fields: &str) -> String {
        let answer = RawClient::connect(self.proxy.listener(listener)).exchange(format!(
            "GET /x HTTP/1.1\r\nHost: app.test\r\nsd-routing-key: {key}\r\n{fields}Connection: close\r\n\r\n"
        ));
        answer.field("x-backend").or_else(|| answer.field("x-spurline-reason")).unwrap_or_default().to_owned()
    }

    fn strict(&self, listener: &str, key: &str) -> String {
        self.by(listener, key, "x-spurline-strict: 1\r\n")
    }
}

#[test]
fn a_strict_request_waits_for_the_key_and_not_only_for_another_workloads_override() {
    let ads = Ads::start();
    let pair = Pair::start(&ads.url());
    let mut session = ads.accept();
    session.sync(&World::default());
    let mut world = World::default();
    world.put_override(CART, "k", "fork", &[pair.fork.address()]);
    world.put_override(WEB, "k", "fork", &[pair.fork.address()]);
    world.put(KEY_OWNER, "k", &owner("alice"));
    let said = |type_url: &str, name: &str| Response {
        resources: vec![world.resource(type_url, name)],
        ..update(type_url)
    };
    // One part of an update: the other override of the key, and the key, are still to come.
    session.accepted(said(OVERRIDE, &format!("{CART}/k")));
    assert_eq!(pair.strict("cart", "k"), "fork");
    assert_eq!(pair.strict("web", "k"), "unknown-routing-key");
    assert_eq!(pair.by("web", "k", ""), "baseline");
    session.accepted(said(KEY_OWNER, "k"));
    assert_eq!(pair.strict("cart", "k"), "fork");
    assert_eq!(pair.strict("web", "k"), "baseline", "the key is known and forks nothing here");
    session.accepted(said(OVERRIDE, &format!("{WEB}/k")));
    assert_eq!(pair.strict("web", "k"), "fork");
    // It goes in the other order: the key first, then what it forks.
    session.accepted(Response { removed_resources: vec!["k".to_owned()], ..update(KEY_OWNER) });
    session.accepted(Response { removed_resources: vec![format!("{CART}/k")], ..update(OVERRIDE) });
    assert_eq!(pair.strict("cart", "k"), "unknown-routing-key");
    assert_eq!(pair.strict("web", "k"), "fork");
}

#[test]
fn a_key_is_known_to_strict_requests_once_its_owner_is() {
    let honest = Honest::start(World::default());
    let case = Case::start(&honest.url());
    let strict = |key: &str| {
        let fields = format!("sd-routing-key: {key}\r\nx-spurline-strict: 1\r\n");
        let answer = case.proxy.get("/x", &fields);
        answer
            .field("x-backend")
            .map_or_else(|| answer.field("x-spurline-reason").unwrap_or_default().to_owned(), str::to_owned)
    };
    let unknown = strict("elsewhere");
    assert_ne!(unknown, "baseline", "a strict request with an unknown key is refused");
    honest.edit(|world| world.put(KEY_OWNER, "elsewhere", &owner("alice")));
    honest.wait_settled(1);
    let known = strict("elsewhere");
    assert_ne!(known, unknown, "a key that is known and does not fork this workload is another matter");
    honest.edit(|world| world.remove(KEY_OWNER, "elsewhere"));
    honest.wait_settled(1);
    assert_eq!(strict("elsewhere"), unknown);
}
