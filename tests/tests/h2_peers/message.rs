//! Messages that both sides can make from a number.

use fastrand::Rng;

pub(crate) type Fields = Vec<(String, Vec<u8>)>;

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Message {
    pub(crate) fields: Fields,
    pub(crate) body: Vec<u8>,
    /// Empty for none.
    pub(crate) trailers: Fields,
    /// Of a response.
    pub(crate) status: u16,
}

/// Who gives up a request, once so many bytes of its own message are sent. It may be over by then.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fate {
    Whole,
    ClientResets(usize),
    ServerResets(usize),
}

// === impl Fate ===

impl Fate {
    pub(crate) fn of(number: u64) -> Self {
        let mut rng = Rng::with_seed(!number);
        let bytes = rng.usize(..30_000);
        match rng.u8(..10) {
            0 => Self::ClientResets(bytes),
            1 => Self::ServerResets(bytes),
            _ => Self::Whole,
        }
    }

    /// After how many bytes a client gives up.
    pub(crate) fn of_client(self) -> Option<usize> {
        if let Self::ClientResets(bytes) = self { Some(bytes) } else { None }
    }

    pub(crate) fn of_server(self) -> Option<usize> {
        if let Self::ServerResets(bytes) = self { Some(bytes) } else { None }
    }
}

// === impl Message ===

impl Message {
    pub(crate) fn request(number: u64) -> Self {
        Self { status: 0, ..Self::of(2 * number) }
    }

    pub(crate) fn response(number: u64) -> Self {
        Self::of(2 * number + 1)
    }

    pub(crate) fn path(number: u64) -> String {
        format!("/{number}?{}", "q".repeat(number as usize % 50))
    }

    pub(crate) fn number(path: &str) -> u64 {
        let number = path.strip_prefix('/').and_then(|path| path.split('?').next());
        let number = number.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("{path}"));
        assert_eq!(path, Self::path(number));
        number
    }

    fn of(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let bytes = match rng.u8(..10) {
            0..2 => 0,
            2..5 => rng.usize(1..100),
            5..7 => rng.usize(100..20_000),
            _ => rng.usize(20_000..=200 * 1024),
        };
        let mut body = vec![0; bytes];
        rng.fill(&mut body);
        let mut fields = fields(&mut rng, 12);
        if rng.bool() {
            fields.push(("content-length".to_owned(), bytes.to_string().into_bytes()));
        }
        let trailers = if rng.bool() { fields_of_trailers(&mut rng) } else { Fields::new() };
        let status = *rng.choice(&[200, 201, 404, 500]).unwrap();
        Self { fields, body, trailers, status }
    }

    /// What came, whatever the order of different names.
    #[track_caller]
    pub(crate) fn assert_is(&self, mut expected: Self, what: &str) {
        let mut came = self.clone();
        for fields in [&mut came.fields, &mut came.trailers, &mut expected.fields, &mut expected.trailers] {
            fields.sort_by(|one, other| one.0.cmp(&other.0));
        }
        assert_eq!(came.status, expected.status, "{what}");
        assert_eq!(came.fields, expected.fields, "{what}");
        assert_eq!(came.trailers, expected.trailers, "{what}");
        assert!(came.body == expected.body, "{what}: {} of {}", came.body.len(), expected.body.len());
    }
}

fn fields_of_trailers(rng: &mut Rng) -> Fields {
    let mut trailers = fields(rng, 4);
    trailers.push(("grpc-status".to_owned(), b"0".to_vec()));
    trailers
}

/// Names and values of which many come again, so that the tables of the compression matter.
fn fields(rng: &mut Rng, count_max: usize) -> Fields {
    const NAMES: [&str; 12] = [
        "accept",
        "authorization",
        "baggage",
        "content-type",
        "set-cookie",
        "traceparent",
        "user-agent",
        "x-a",
        "x-b",
        "x-custom.name_with~all",
        "x-request-id",
        "x-very-long-name-that-takes-its-place",
    ];
    let mut fields = Fields::new();
    for _ in 0..rng.usize(..count_max) {
        let value = match rng.u8(..3) {
            0 => format!("value {}", rng.u8(..5)).into_bytes(),
            1 => any_value(rng),
            _ => vec![b'v'; rng.usize(..300)],
        };
        fields.push(((*rng.choice(&NAMES).unwrap()).to_owned(), value));
    }
    // What means something in trailers alone, or may not be there, is left out of both.
    fields.retain(|(name, _)| count_max > 4 || name.starts_with("x-"));
    fields
}

fn any_value(rng: &mut Rng) -> Vec<u8> {
    let value = std::iter::repeat_with(|| rng.u8(b' '..=255)).filter(|byte| *byte != 0x7f);
    let value: Vec<u8> = value.take(60).collect();
    value.trim_ascii().to_vec()
}
