//! The name that was probably meant by one that is unknown.

/// How alike two names have to be, and how long a name may be: comparing takes quadratic time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    /// Length in bytes above which neither a name nor a candidate is looked at.
    pub longest: usize,
    /// The least Jaro-Winkler similarity, from 0 to 1.
    pub alike: f64,
}

/// For names that a program or a schema gives: fields, functions, flags.
pub const WORDS: Bounds = Bounds { longest: 64, alike: 0.82 };

/// For names of Kubernetes objects, of which none is longer.
pub const OBJECTS: Bounds = Bounds { longest: 253, alike: 0.8 };

/// The candidate a reader most likely meant by `name`, if one is near enough to be a typo. Case
/// counts for nothing; of two that are as near, the one that sorts first.
#[must_use]
pub fn nearest<'n>(
    name: &str,
    candidates: impl IntoIterator<Item = &'n str>,
    bounds: Bounds,
) -> Option<&'n str> {
    if name.len() > bounds.longest {
        return None;
    }
    let lower = name.to_ascii_lowercase();
    candidates
        .into_iter()
        .filter(|candidate| candidate.len() <= bounds.longest)
        .map(|known| (strsim::jaro_winkler(&lower, &known.to_ascii_lowercase()), known))
        .filter(|(alike, _)| *alike >= bounds.alike)
        .max_by(|(a, left), (b, right)| a.total_cmp(b).then_with(|| right.cmp(left)))
        .map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typo_is_near_and_a_stranger_is_not() {
        let known = ["replicas", "template", "worker"];
        assert_eq!(nearest("replcas", known, WORDS), Some("replicas"));
        assert_eq!(nearest("Template", known, WORDS), Some("template"));
        assert_eq!(nearest("image", known, WORDS), None);
        assert_eq!(nearest("", known, WORDS), None);
    }

    #[test]
    fn of_two_that_are_as_near_the_first_by_name() {
        for known in [["abcx", "abcy"], ["abcy", "abcx"]] {
            assert_eq!(nearest("abcz", known, WORDS), Some("abcx"));
        }
    }

    #[test]
    fn long_names_are_not_compared() {
        let long = "a".repeat(65);
        assert_eq!(nearest(&long, [long.as_str()], WORDS), None);
        assert_eq!(nearest(&long, [long.as_str()], OBJECTS), Some(long.as_str()));
        assert_eq!(nearest(&"a".repeat(64), [long.as_str()], WORDS), None);
    }
}
