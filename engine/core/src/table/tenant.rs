//! Tenants: whoever submits, by login, with a weight.

use std::collections::BTreeMap;

use wire_protocol::ids::TenantId;

#[derive(Debug, Clone)]
pub(crate) struct Tenant {
    pub(crate) name: String,
    pub(crate) weight: u32,
}

/// All tenants; they are few and never forgotten.
#[derive(Default)]
pub(crate) struct Tenants {
    tenants: Vec<Tenant>,
    by_name: BTreeMap<String, TenantId>,
}

impl Tenants {
    pub(crate) fn len(&self) -> usize {
        self.tenants.len()
    }

    pub(crate) fn get(&self, id: TenantId) -> &Tenant {
        &self.tenants[id.index() - 1]
    }

    pub(crate) fn by_name(&self, name: &str) -> Option<TenantId> {
        self.by_name.get(name).copied()
    }

    pub(crate) fn insert(&mut self, name: &str, weight: u32) -> TenantId {
        self.tenants.push(Tenant {
            name: name.to_owned(),
            weight: weight.max(1),
        });
        let id = TenantId(u32::try_from(self.tenants.len()).expect("tenants are bounded"));
        self.by_name.insert(name.to_owned(), id);
        id
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (TenantId, &Tenant)> {
        self.tenants
            .iter()
            .enumerate()
            .map(|(index, tenant)| (TenantId(index as u32 + 1), tenant))
    }
}
