//! What the signatures that a message brings cover.

use mail_types::Field;

/// The `h=` lists of the signatures in a header (RFC 6376 section 3.5, RFC 8617 section 4.1.2).
#[derive(Debug, Default)]
pub struct Covered {
    lists: Vec<Vec<String>>,
}

impl Covered {
    /// Of the signatures among these fields.
    #[must_use]
    pub fn by(fields: &[Field<'_>]) -> Self {
        let signatures = fields
            .iter()
            .filter(|f| f.is("DKIM-Signature") || f.is("ARC-Message-Signature"));
        Self {
            lists: signatures.map(|f| names(f.value())).collect(),
        }
    }

    /// Whether a field of this name is signed, so that it must stay as it is.
    #[must_use]
    pub fn holds(&self, name: &str) -> bool {
        (0..self.lists.len()).any(|n| self.count(n, name) > 0)
    }

    /// Whether a signature says that there are no more fields of this name than those that stand.
    pub(crate) fn forbids_another(&self, name: &str, standing: usize) -> bool {
        (0..self.lists.len()).any(|n| self.count(n, name) > standing)
    }

    fn count(&self, list: usize, name: &str) -> usize {
        self.lists.get(list).map_or(0, |list| {
            list.iter().filter(|n| n.eq_ignore_ascii_case(name)).count()
        })
    }
}

fn names(value: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(value);
    let tags = text.split(';').filter_map(|tag| tag.split_once('='));
    let list = tags.filter(|(name, _)| name.trim() == "h").map(|(_, v)| v);
    list.flat_map(|v| v.split(':'))
        .map(|name| name.trim().to_owned())
        .collect()
}
