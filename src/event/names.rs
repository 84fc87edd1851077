//! Customers and gateways by small integer: names are learned once and kept for the life of the process.

use std::collections::HashMap;
use std::sync::RwLock;

use super::{CustomerId, GatewayId};
use crate::limits::NAMES_MAX;

/// The names of customers and gateways. Shared by all connections; each caches the names it uses, so
/// the lock is taken once a name and connection, not once an event.
#[derive(Debug)]
pub struct Names {
    customers: Table,
    gateways: Table,
}

#[derive(Debug, Default)]
struct Table(RwLock<Inner>);

#[derive(Debug, Default)]
struct Inner {
    ids: HashMap<&'static str, u32>,
    /// Leaked: ids and names are kept for the life of the process, and predicates read them without a copy.
    names: Vec<&'static str>,
}

impl Default for Names {
    /// Customer 0 is `default`, gateway 0 is `file`.
    fn default() -> Names {
        let names = Names { customers: Table::default(), gateways: Table::default() };
        names.customers.id("default");
        names.gateways.id("file");
        names
    }
}

impl Names {
    pub fn new() -> Names {
        Names::default()
    }

    /// `None` when [`NAMES_MAX`] other names came before.
    pub fn customer(&self, name: &str) -> Option<CustomerId> {
        self.customers.id(name).map(CustomerId)
    }

    /// `None` when [`NAMES_MAX`] other names came before.
    pub fn gateway(&self, name: &str) -> Option<GatewayId> {
        self.gateways.id(name).map(GatewayId)
    }

    /// How many customers and gateways are known: the ids below are names. Records keep ids, and whoever stores records
    /// stores the names with them.
    pub fn n_known(&self) -> (usize, usize) {
        (self.customers.read().names.len(), self.gateways.read().names.len())
    }

    /// All names, in the order of their ids.
    pub fn all(&self) -> (Vec<&'static str>, Vec<&'static str>) {
        (self.customers.read().names.clone(), self.gateways.read().names.clone())
    }

    pub fn customer_name(&self, id: CustomerId) -> String {
        self.customers.text(id.0).to_owned()
    }

    pub fn gateway_name(&self, id: GatewayId) -> String {
        self.gateways.text(id.0).to_owned()
    }

    pub fn customer_text(&self, id: CustomerId) -> &'static str {
        self.customers.text(id.0)
    }

    pub fn gateway_text(&self, id: GatewayId) -> &'static str {
        self.gateways.text(id.0)
    }
}

impl Table {
    fn id(&self, name: &str) -> Option<u32> {
        if let Some(id) = self.read().ids.get(name) {
            return Some(*id);
        }
        let mut inner = self.0.write().unwrap_or_else(|e| e.into_inner());
        if let Some(id) = inner.ids.get(name) {
            return Some(*id);
        }
        if inner.names.len() >= NAMES_MAX {
            return None;
        }
        let id = inner.names.len() as u32;
        let name: &'static str = Box::leak(name.into());
        inner.names.push(name);
        inner.ids.insert(name, id);
        Some(id)
    }

    fn text(&self, id: u32) -> &'static str {
        self.read().names.get(id as usize).copied().unwrap_or_default()
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Inner> {
        self.0.read().unwrap_or_else(|e| e.into_inner())
    }
}
