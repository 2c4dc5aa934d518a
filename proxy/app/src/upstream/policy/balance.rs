//! Power of two choices: of two random endpoints, the one with fewer requests pending.
//!
//! It does not weigh endpoints and does not look at latency: a slow endpoint shows up as pending requests.

/// What the choice needs to know about one endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    /// Requests sent to the endpoint whose responses have not ended.
    pub(crate) pending: u32,
    /// False while the endpoint must not be used, for example because it is ejected.
    pub(crate) available: bool,
}

/// Picks the index of an available candidate, `None` when there is none.
///
/// `random` must be uniform over all 64 bits. `exclude` is the endpoint of the previous try: it is picked only when
/// no other is available.
pub(crate) fn pick(candidates: &[Candidate], random: u64, exclude: Option<usize>) -> Option<usize> {
    let eligible = || {
        candidates
            .iter()
            .enumerate()
            .filter(move |(index, candidate)| candidate.available && Some(*index) != exclude)
    };
    let count = eligible().count();
    match count {
        0 => exclude.filter(|index| candidates.get(*index).is_some_and(|candidate| candidate.available)),
        1 => eligible().next().map(|(index, _)| index),
        _ => {
            let (first, second) = two_below(count, random);
            let (first_index, first) = eligible().nth(first)?;
            let (second_index, second) = eligible().nth(second)?;
            Some(if second.pending < first.pending { second_index } else { first_index })
        }
    }
}

/// Two different numbers below `count` (at least 2), each pair equally likely, from the halves of `random`.
fn two_below(count: usize, random: u64) -> (usize, usize) {
    let first = scale(random >> 32, count);
    let second = scale(random & u64::from(u32::MAX), count - 1);
    (first, if second >= first { second + 1 } else { second })
}

/// Maps 32 random bits onto `0..bound` by multiplication, which costs no division.
fn scale(random: u64, bound: usize) -> usize {
    ((u128::from(random) * bound as u128) >> 32) as usize
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn idle(available: &[bool]) -> Vec<Candidate> {
        available.iter().map(|available| Candidate { pending: 0, available: *available }).collect()
    }

    fn candidates() -> impl Strategy<Value = Vec<Candidate>> {
        let candidate =
            (0u32..5, any::<bool>()).prop_map(|(pending, available)| Candidate { pending, available });
        prop::collection::vec(candidate, 0..12)
    }

    #[test]
    fn nothing_is_picked_when_nothing_is_available() {
        assert_eq!(pick(&[], 7, None), None);
        assert_eq!(pick(&idle(&[false, false]), 7, Some(0)), None);
    }

    #[test]
    fn the_excluded_endpoint_is_the_last_resort() {
        assert_eq!(pick(&idle(&[true, false]), 7, Some(0)), Some(0));
        assert_eq!(pick(&idle(&[true, true]), 7, Some(0)), Some(1));
    }

    #[test]
    fn of_two_endpoints_the_less_loaded_one_is_always_picked() {
        let candidates =
            [Candidate { pending: 9, available: true }, Candidate { pending: 8, available: true }];
        for random in [0, 1 << 31, 1 << 63, u64::MAX] {
            assert_eq!(pick(&candidates, random, None), Some(1));
        }
    }

    #[test]
    fn idle_endpoints_share_the_load_evenly() {
        let candidates = idle(&[true, false, true, true]);
        let mut hits = [0u32; 4];
        let mut random = 0x5EED_u64;
        for _ in 0..30_000 {
            // SplitMix64, so that the spread is the same on every run.
            random = random.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut mixed = (random ^ (random >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            hits[pick(&candidates, mixed ^ (mixed >> 31), None).unwrap()] += 1;
        }
        assert_eq!(hits[1], 0);
        for index in [0, 2, 3] {
            assert!((9_500..10_500).contains(&hits[index]), "{hits:?}");
        }
    }

    proptest! {
        #[test]
        fn the_pick_is_available_and_excluded_only_when_alone(
            candidates in candidates(),
            random: u64,
            exclude in prop::option::of(0usize..14),
        ) {
            let others = candidates
                .iter()
                .enumerate()
                .any(|(index, candidate)| candidate.available && Some(index) != exclude);
            match pick(&candidates, random, exclude) {
                Some(index) => {
                    prop_assert!(candidates[index].available);
                    prop_assert!(!others || Some(index) != exclude);
                }
                None => prop_assert!(candidates.iter().all(|candidate| !candidate.available)),
            }
        }

        #[test]
        fn the_most_loaded_of_several_is_never_picked(random: u64, count in 2usize..12, busiest in 0usize..12) {
            let busiest = busiest % count;
            let candidates: Vec<_> = (0..count)
                .map(|index| Candidate { pending: u32::from(index == busiest), available: true })
                .collect();
            prop_assert_ne!(pick(&candidates, random, None), Some(busiest));
        }
    }
}
