//! What the worker has already of images and files, as keys that it presents when it joins.

use wire_protocol::ids::TenantId;
use wire_protocol::limits::WARM_KEYS_MAX;
use wire_protocol::template::WorkTemplate;

/// Keys, the one used last first; no more than may be presented.
#[derive(Debug)]
pub(crate) struct Warm(Vec<u64>);

impl Warm {
    pub(crate) fn new(mut keys: Vec<u64>) -> Self {
        keys.truncate(WARM_KEYS_MAX);
        Self(keys)
    }

    pub(crate) fn keys(&self) -> &[u64] {
        &self.0
    }

    /// A work of this template succeeded, so its image and its files are here. Whose its named files are is not known here,
    /// so they are left out.
    pub(crate) fn used(&mut self, template: &WorkTemplate) {
        for key in wire_protocol::warm::keys(template, None::<TenantId>) {
            self.0.retain(|known| *known != key);
            self.0.insert(0, key);
        }
        self.0.truncate(WARM_KEYS_MAX);
    }
}
