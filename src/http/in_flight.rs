//! The requests in flight: each client waits in a slot, and whoever takes it out answers it.

use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, Weak};
use std::time::Instant;

use crate::api::{
    Answer, Deferred, Finish, Gateway, Reply, RequestContext, ResultCode, SlotId, Slots, Ticket,
};
use crate::ops::sync::lock;
use crate::recording::Download;

/// A client whose request is in flight, as the front puts it into a slot.
pub(crate) trait PendingClient: Send + Sized + 'static {
    /// The client's address, and the trusted proxy that the request came through, if any.
    fn client(&self) -> (IpAddr, Option<IpAddr>);

    /// The request is deferred in `slot`. Arranges for the slot to be completed at `until`, and
    /// cancelled if the client leaves. Called with the slots locked, so it must not touch them.
    fn park(&mut self, slot: SlotId, until: Instant);

    /// Sends the answer to the client.
    fn respond(self, gateway: &Gateway, response: Response);
}

/// The answer to one request.
#[derive(Debug)]
pub(crate) struct Response {
    /// Status, result code, headers and content.
    pub(crate) reply: Reply,
    /// The recording to send as content instead.
    pub(crate) download: Option<Box<Download>>,
    /// The context of the request, unless a panic lost it.
    pub(crate) context: Option<Box<RequestContext>>,
}

impl Response {
    /// An answer that comes from no interface.
    pub(crate) fn without_context(reply: Reply) -> Response {
        Response {
            reply,
            download: None,
            context: None,
        }
    }
}

/// The table of slots.
pub(crate) struct InFlight<C> {
    gateway: Arc<Gateway>,
    table: Mutex<Table<C>>,
    /// A reference to itself, for tickets.
    this: Weak<InFlight<C>>,
}

/// A slot is empty or holds one client. The generation invalidates old ids.
struct Slot<C> {
    generation: u32,
    request: Option<Request<C>>,
}

enum Request<C> {
    /// On its way to a worker.
    Forwarded(C),
    /// Its answer is deferred.
    Deferred {
        client: C,
        context: Box<RequestContext>,
        on_timeout: Finish,
        is_poll: bool,
    },
}

struct Table<C> {
    slots: Vec<Slot<C>>,
    vacant: Vec<u32>,
}

impl<C: PendingClient> InFlight<C> {
    /// An empty table.
    pub(crate) fn new(gateway: Arc<Gateway>) -> Arc<InFlight<C>> {
        let table = Mutex::new(Table {
            slots: Vec::new(),
            vacant: Vec::new(),
        });
        Arc::new_cyclic(|this| InFlight {
            gateway,
            table,
            this: Weak::clone(this),
        })
    }

    /// The interfaces that answer.
    pub(crate) fn gateway(&self) -> &Arc<Gateway> {
        &self.gateway
    }

    /// Puts a client into a slot before its request goes to the workers.
    pub(crate) fn insert(&self, client: C) -> SlotId {
        lock(&self.table).insert(Request::Forwarded(client))
    }

    /// Takes out a client whose request is still on its way to a worker: for that worker, or on a
    /// timeout.
    pub(crate) fn take_forwarded(&self, slot: SlotId) -> Option<C> {
        let is_forwarded = |request: &Request<C>| matches!(request, Request::Forwarded(_));
        match lock(&self.table).take_if(slot, is_forwarded)? {
            Request::Forwarded(client) | Request::Deferred { client, .. } => Some(client),
        }
    }

    /// Empties the slot of a client that has left.
    pub(crate) fn cancel(&self, slot: SlotId) -> Option<C> {
        // Unlocked here: dropping what the request waited for may run any code.
        let request = lock(&self.table).take_if(slot, |_| true)?;
        if let Request::Deferred { is_poll, .. } = request {
            self.count_finished(is_poll);
        }
        let (Request::Forwarded(client) | Request::Deferred { client, .. }) = request;
        Some(client)
    }

    /// Sends `client` the answer, or puts it back into a slot until there is one.
    pub(super) fn answer(&self, client: C, context: Box<RequestContext>, answer: Answer) {
        let (reply, download) = match answer {
            Answer::Reply(reply) => (reply, None),
            Answer::Download(reply, download) => (reply, Some(download)),
            Answer::Deferred(deferred) => return self.defer(client, context, deferred),
        };
        client.respond(
            &self.gateway,
            Response {
                reply,
                download,
                context: Some(context),
            },
        );
    }

    /// Answers 500 after a panic, which the panic hook has logged.
    pub(super) fn answer_panic(&self, client: C) {
        self.gateway.counters().worker_panics.add(1);
        client.respond(
            &self.gateway,
            Response::without_context(Reply::http_error(500, ResultCode::INTERNAL)),
        );
    }

    fn defer(&self, client: C, context: Box<RequestContext>, deferred: Deferred) {
        let Deferred {
            until,
            is_poll,
            on_timeout,
            start,
        } = deferred;
        let counters = self.gateway.counters();
        counters.waiting.increment();
        if is_poll {
            counters.parked_polls.increment();
        }
        let slot = {
            let mut table = lock(&self.table);
            let slot = table.insert(Request::Deferred {
                client,
                context,
                on_timeout,
                is_poll,
            });
            let waiting = table.slot(slot).and_then(|slot| slot.request.as_mut());
            if let Some(Request::Deferred { client, .. }) = waiting {
                client.park(slot, until);
            }
            slot
        };
        if let Some(slots) = self.this.upgrade() {
            start(&self.gateway, Ticket::new(slots, slot));
        }
    }

    fn count_finished(&self, is_poll: bool) {
        let counters = self.gateway.counters();
        counters.waiting.decrement();
        if is_poll {
            counters.parked_polls.decrement();
        }
    }
}

impl<C: PendingClient> Slots for InFlight<C> {
    fn complete(&self, slot: SlotId, finish: Option<Finish>) {
        let is_deferred = |request: &Request<C>| matches!(request, Request::Deferred { .. });
        let taken = lock(&self.table).take_if(slot, is_deferred);
        let Some(Request::Deferred {
            client,
            context,
            on_timeout,
            is_poll,
        }) = taken
        else {
            return;
        };
        self.count_finished(is_poll);
        let finish = finish.unwrap_or(on_timeout);
        match catch_unwind(AssertUnwindSafe(|| self.gateway.resume(&context, finish))) {
            Ok(answer) => self.answer(client, context, answer),
            Err(_) => self.answer_panic(client),
        }
    }

    fn is_waiting(&self, slot: SlotId) -> bool {
        let mut table = lock(&self.table);
        table.slot(slot).is_some_and(|slot| slot.request.is_some())
    }
}

impl<C> Table<C> {
    fn insert(&mut self, request: Request<C>) -> SlotId {
        let index = self.vacant.pop().unwrap_or_else(|| {
            self.slots.push(Slot {
                generation: 0,
                request: None,
            });
            u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
        });
        let mut generation = 0;
        if let Some(slot) = self.slots.get_mut(index as usize) {
            generation = slot.generation.wrapping_add(1);
            *slot = Slot {
                generation,
                request: Some(request),
            };
        }
        SlotId { index, generation }
    }

    /// The slot, unless it has been reused since.
    fn slot(&mut self, id: SlotId) -> Option<&mut Slot<C>> {
        self.slots
            .get_mut(id.index as usize)
            .filter(|slot| slot.generation == id.generation)
    }

    fn take_if(
        &mut self,
        id: SlotId,
        condition: impl Fn(&Request<C>) -> bool,
    ) -> Option<Request<C>> {
        let request = self
            .slot(id)?
            .request
            .take_if(|request| condition(request))?;
        self.vacant.push(id.index);
        Some(request)
    }
}

#[cfg(test)]
mod tests;
