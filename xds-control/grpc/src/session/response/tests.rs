use spurline_core::catalog::Catalog;

use super::*;
use crate::session::tests::{change, decode};

#[test]
fn what_is_put_together_is_what_a_general_encoder_would_write() {
    let mut catalog = Catalog::new();
    let ty = ResourceType::Override;
    catalog.apply([change(ty, "a/D/x/1", Some("one")), change(ty, "a/D/x/2", Some(&"two".repeat(100)))]);
    let mut batch = Batch::new(1 << 20, Overlap::Impossible);
    for name in ["a/D/x/1", "a/D/x/2"] {
        batch.changed(catalog.get(ty, name).expect("it is there"));
    }
    batch.removed(&Arc::from("a/D/x/3"));
    let response = Response { ty, nonce: 7, complete: Some(catalog.revision()), batch };
    let encoded = response.encode("here");
    let decoded = decode(encoded.clone());
    assert_eq!(decoded.nonce, "7");
    assert_eq!(decoded.type_url, ty.type_url());
    assert_eq!(decoded.system_version_info, format!("here/{}", catalog.revision()));
    assert_eq!(decoded.removed_resources, ["a/D/x/3"]);
    let names: Vec<_> = decoded.resources.iter().map(|resource| resource.name.as_str()).collect();
    assert_eq!(names, ["a/D/x/1", "a/D/x/2"]);
    let again = prost::Message::encode_to_vec(&decoded);
    assert_eq!(again.len(), encoded.len() - PREFIX_BYTES);
}
