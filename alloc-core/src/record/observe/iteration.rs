//! What is kept while one iteration is observed: its sites, its blocks (`table`), and what the last events were.
//!
//! Record side. A block is followed through its growths and counts at the site that first allocated it. A reallocation to a larger size is
//! a growth; so is what hash tables do, which allocate a larger table, move everything, and free the old one: told by an old block that
//! is freed right after a larger one was allocated at the same site. A *burst* is a run of frees without an allocation in between: what a
//! collection owns dies before it in the same burst.
//!
//! Bounded: `SITES` sites, and the blocks that `table` has room for; events beyond are counted as missed. Of a site with many live blocks the
//! first `FOLLOWED` are followed, and that is no loss.
#![forbid(unsafe_code)]

use crate::record::atomic::{AtomicU16, AtomicU32, Ordering};

use super::WINDOW;
use super::pool::Handle;
use super::sums::TARGETS;
use super::table::{Block, Table};
use crate::ids::ContextId;
use crate::record::counters::Counter;
use crate::record::thread::ThreadState;

const SITES: usize = 192;
const INDEX: usize = 512;
/// Live blocks of one site that are followed: enough to tell what becomes of them, and they leave room for those of other sites.
const FOLLOWED: u32 = 256;
/// Sites in one burst that are told apart.
const BURST: usize = 16;
/// Sizes of ended blocks that a site keeps until the iteration ends.
const FINALS: usize = 4;
/// Distances up to which a free makes a block a temporary one.
const DISTANCES: [u32; 4] = [0, 1, 4, 8];

fn load(cell: &AtomicU32) -> u32 {
    cell.load(Ordering::Relaxed)
}

fn store(cell: &AtomicU32, value: u32) {
    cell.store(value, Ordering::Relaxed);
}

fn add(cell: &AtomicU32, amount: u32) {
    store(cell, load(cell).saturating_add(amount));
}

/// What one context did in the iteration.
#[derive(Default)]
pub(super) struct Site {
    pub(super) context: AtomicU32,
    pub(super) allocations: Counter,
    pub(super) bytes: Counter,
    pub(super) growths: Counter,
    pub(super) copied_bytes: Counter,
    pub(super) blocks: Counter,
    pub(super) grown: Counter,
    pub(super) confined: Counter,
    pub(super) crossed_await: Counter,
    pub(super) crossed_threads: Counter,
    pub(super) temporaries: [Counter; DISTANCES.len()],
    pub(super) most_live: AtomicU32,
    live: AtomicU32,
    /// A sample of the sizes that blocks had in the end, and how many there were.
    finals: [Counter; FINALS],
    ended: AtomicU32,
    /// Blocks freed in the running burst, and the number of the last such free; numbers are from 1 on.
    burst_blocks: AtomicU32,
    burst_last: AtomicU32,
    /// Places of sites whose blocks were freed later in the same burst, from 1 on; 0 for none.
    targets: [AtomicU32; TARGETS],
    target_blocks: [AtomicU32; TARGETS],
}

impl Site {
    fn reset(&self, context: ContextId) {
        store(&self.context, context.0);
        for counter in [
            &self.allocations,
            &self.bytes,
            &self.growths,
            &self.copied_bytes,
            &self.blocks,
            &self.grown,
            &self.confined,
            &self.crossed_await,
            &self.crossed_threads,
        ] {
            counter.set(0);
        }
        for counter in &self.temporaries {
            counter.set(0);
        }
        for cell in [
            &self.most_live,
            &self.live,
            &self.ended,
            &self.burst_blocks,
            &self.burst_last,
        ] {
            store(cell, 0);
        }
        for cell in self.targets.iter().chain(&self.target_blocks) {
            store(cell, 0);
        }
    }

    /// Sizes of ended blocks: all, or a random sample when there were many.
    pub(super) fn finals(&self) -> impl Iterator<Item = u64> {
        let known = (load(&self.ended) as usize).min(FINALS);
        self.finals.iter().take(known).map(Counter::get)
    }

    fn add_final(&self, size: u64, random: u32) {
        let ended = load(&self.ended);
        store(&self.ended, ended.saturating_add(1));
        let place = if (ended as usize) < FINALS {
            ended
        } else {
            random % ended.saturating_add(1)
        };
        if let Some(kept) = self.finals.get(place as usize) {
            kept.set(size);
        }
    }

    fn add_target(&self, target: u32, blocks: u32) {
        for (kept, count) in self.targets.iter().zip(&self.target_blocks) {
            if load(kept) == 0 {
                store(kept, target);
            }
            if load(kept) == target {
                return add(count, blocks);
            }
        }
    }
}

/// See the file's head. INVARIANT: zeroed memory is an empty observation.
pub(super) struct Iteration {
    /// The scope node whose call it is; 0 for a window.
    node: AtomicU32,
    /// Bits of the observation that this is.
    bits: AtomicU32,
    /// Bits of the observation that the thread was in before.
    outer: AtomicU32,
    /// Index of the thread that ran it last.
    runner: AtomicU32,
    suspensions: AtomicU32,
    moves: AtomicU32,
    missed: Counter,
    /// Allocations so far.
    clock: AtomicU32,
    random: AtomicU32,
    /// The block of the last allocation, while nothing has been freed since; 0: none.
    newest: Counter,
    /// Place, from 1 on, of a site whose live blocks have grown and were not compared with the most yet.
    unsettled: AtomicU32,
    burst: [AtomicU32; BURST],
    burst_sites: AtomicU32,
    burst_frees: AtomicU32,
    used: AtomicU32,
    index: [AtomicU16; INDEX],
    sites: [Site; SITES],
    blocks: Table,
}

impl Iteration {
    pub(super) fn begin(&self, node: u32) {
        store(&self.node, node);
        store(&self.random, node ^ 0x9e37_79b9);
    }

    pub(super) fn clear(&self) {
        self.blocks.clear();
        for cell in [
            &self.node,
            &self.outer,
            &self.runner,
            &self.suspensions,
            &self.moves,
            &self.clock,
            &self.unsettled,
            &self.burst_sites,
            &self.burst_frees,
            &self.used,
        ] {
            store(cell, 0);
        }
        self.missed.set(0);
        self.newest.set(0);
        for place in &self.index {
            place.store(0, Ordering::Relaxed);
        }
    }

    pub(super) fn node(&self) -> u32 {
        load(&self.node)
    }

    pub(super) fn outer(&self) -> u32 {
        load(&self.outer)
    }

    pub(super) fn outer_place(&self) -> &AtomicU32 {
        &self.outer
    }

    pub(super) fn handle(&self) -> Option<Handle> {
        Handle::from_bits(load(&self.bits))
    }

    /// Allocations so far.
    pub(super) fn allocations(&self) -> u32 {
        load(&self.clock)
    }

    pub(super) fn was_suspended(&self) -> bool {
        load(&self.suspensions) != 0
    }

    pub(super) fn was_moved(&self) -> bool {
        load(&self.moves) != 0
    }

    pub(super) fn missed_events(&self) -> u64 {
        self.missed.get()
    }

    pub(super) fn enter(&self, thread: &ThreadState, handle: Handle) {
        store(&self.bits, handle.0);
        store(&self.outer, thread.observing.swap(handle.0, Ordering::Relaxed));
        let before = self.runner.swap(thread.index(), Ordering::Relaxed);
        if before != 0 && before != thread.index() {
            add(&self.moves, 1);
        }
    }

    pub(super) fn leave(&self, thread: &ThreadState) {
        thread.observing.store(self.outer(), Ordering::Relaxed);
        self.end_burst();
    }

    pub(super) fn wait(&self) {
        add(&self.suspensions, 1);
    }

    /// The iteration is over: what is alive stays alive. Gives each site.
    pub(super) fn end(&self, mut each: impl FnMut(&Self, &Site)) {
        self.settle();
        for block in self.blocks.iter() {
            if let Some(site) = self.site(block.site) {
                self.end_block(site, &block);
            }
        }
        for site in self.sites.iter().take(load(&self.used) as usize) {
            if site.allocations.get() != 0 {
                each(self, site);
            }
        }
    }

    /// Contexts whose blocks were freed after those of `site`, and how many of its blocks before them.
    pub(super) fn targets(&self, site: &Site) -> impl Iterator<Item = (ContextId, u32)> {
        let pairs = site.targets.iter().zip(&site.target_blocks);
        pairs.filter_map(|(target, blocks)| {
            let target = self.site((load(target)).checked_sub(1)? as u16)?;
            Some((ContextId(load(&target.context)), load(blocks)))
        })
    }

    fn site(&self, place: u16) -> Option<&Site> {
        self.sites.get(usize::from(place))
    }

    /// Place of a context's site, made if it is new.
    fn place_of(&self, context: ContextId) -> Option<u16> {
        let home = (context.0.wrapping_mul(0x9e37_79b9) >> 23) as usize;
        for step in 0..INDEX {
            let entry = self.index.get((home + step) % INDEX)?;
            match entry.load(Ordering::Relaxed).checked_sub(1) {
                Some(place) if load(&self.site(place)?.context) == context.0 => return Some(place),
                Some(_) => {}
                None => {
                    let used = load(&self.used);
                    self.sites.get(used as usize)?.reset(context);
                    store(&self.used, used + 1);
                    entry.store(used as u16 + 1, Ordering::Relaxed);
                    return Some(used as u16);
                }
            }
        }
        None
    }

    fn next_random(&self) -> u32 {
        let next = load(&self.random).wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        store(&self.random, next);
        next >> 8
    }

    /// Compares the live blocks of the last allocation's site with the most they were: put off until it is known that the
    /// allocation was not a table that takes the place of a smaller one.
    fn settle(&self) {
        if let Some(site) = self.unsettled() {
            store(&site.most_live, load(&site.most_live).max(load(&site.live)));
        }
        store(&self.unsettled, 0);
    }

    fn unsettled(&self) -> Option<&Site> {
        self.site(load(&self.unsettled).checked_sub(1)? as u16)
    }

    pub(super) fn granted(&self, key: u64, size: u64, context: ContextId) {
        self.settle();
        self.end_burst();
        add(&self.clock, 1);
        self.newest.set(0);
        if self.node() == 0 && load(&self.clock) > WINDOW {
            return;
        }
        let Some((place, site)) = self
            .place_of(context)
            .and_then(|place| Some((place, self.site(place)?)))
        else {
            return self.missed.add(1);
        };
        site.allocations.add(1);
        site.bytes.add(size);
        // A block that another thread has freed meanwhile had the same address.
        if let Some(gone) = self.blocks.remove(key) {
            self.lose(&gone);
        }
        if load(&site.live) >= FOLLOWED {
            return;
        }
        let block = Block {
            size,
            born: load(&self.clock),
            site: place,
            growths: 0,
            suspensions: load(&self.suspensions),
            moves: load(&self.moves),
        };
        if !self.blocks.put(key, block) {
            return self.missed.add(1);
        }
        self.newest.set(key);
        add(&site.live, 1);
        store(&self.unsettled, u32::from(place) + 1);
    }

    /// A block was freed where nobody saw it.
    fn lose(&self, gone: &Block) {
        if let Some(site) = self.site(gone.site) {
            store(&site.live, load(&site.live).saturating_sub(1));
            self.end_block(site, gone);
        }
    }

    pub(super) fn freed(&self, key: u64) {
        let Some(block) = self.blocks.remove(key) else {
            return self.newest.set(0);
        };
        let Some(site) = self.site(block.site) else { return };
        if self.is_replaced(key, &block) {
            return self.replace(site, &block);
        }
        self.settle();
        self.newest.set(0);
        store(&site.live, load(&site.live).saturating_sub(1));
        site.confined.add(1);
        let distance = load(&self.clock) - block.born;
        if let Some(class) = DISTANCES.iter().position(|&most| distance <= most)
            && let Some(count) = site.temporaries.get(class)
        {
            count.add(1);
        }
        self.end_block(site, &block);
        self.add_to_burst(block.site, site);
    }

    /// True when the block that was just removed has gone over into the one allocated last.
    fn is_replaced(&self, key: u64, old: &Block) -> bool {
        let newest = self.newest.get();
        if newest == 0 || newest == key {
            return false;
        }
        // Tables double; what belongs to them besides the entries makes it a little more or less.
        self.blocks.get(newest).is_some_and(|new| {
            new.site == old.site && new.growths == 0 && (old.size * 3 / 2..=old.size * 3).contains(&new.size)
        })
    }

    /// The newest block goes on for `old`.
    fn replace(&self, site: &Site, old: &Block) {
        let newest = self.newest.get();
        self.newest.set(0);
        let Some(new) = self.blocks.get(newest) else { return };
        self.blocks.put(
            newest,
            Block {
                size: new.size,
                growths: old.growths.saturating_add(1),
                ..*old
            },
        );
        site.allocations.set(site.allocations.get().saturating_sub(1));
        store(&site.live, load(&site.live).saturating_sub(1));
        self.count_growth(site, old.size);
    }

    fn count_growth(&self, site: &Site, copied: u64) {
        site.growths.add(1);
        site.copied_bytes.add(copied);
    }

    pub(super) fn resized(&self, from: u64, to: u64, size: u64, new_size: u64) {
        self.newest.set(0);
        let Some(block) = self.blocks.remove(from) else { return };
        let Some(site) = self.site(block.site) else { return };
        site.bytes.add(new_size);
        let is_growth = new_size > size;
        if is_growth {
            self.count_growth(site, if from == to { 0 } else { size });
        }
        if let Some(gone) = self.blocks.remove(to) {
            self.lose(&gone);
        }
        let grown = Block {
            size: new_size,
            growths: block.growths.saturating_add(u16::from(is_growth)),
            ..block
        };
        // There is room: one was just removed.
        self.blocks.put(to, grown);
    }

    /// A block of `site` has ended, or the iteration has.
    fn end_block(&self, site: &Site, block: &Block) {
        site.blocks.add(1);
        site.grown.add(u64::from(block.growths != 0));
        site.crossed_await
            .add(u64::from(block.suspensions != load(&self.suspensions)));
        site.crossed_threads.add(u64::from(block.moves != load(&self.moves)));
        site.add_final(block.size, self.next_random());
    }

    fn add_to_burst(&self, place: u16, site: &Site) {
        add(&self.burst_frees, 1);
        if load(&site.burst_blocks) == 0 {
            let sites = load(&self.burst_sites);
            // LIMIT: further sites of the same burst are not compared with the others.
            let Some(entry) = self.burst.get(sites as usize) else {
                return;
            };
            store(entry, u32::from(place));
            store(&self.burst_sites, sites + 1);
        }
        add(&site.burst_blocks, 1);
        store(&site.burst_last, load(&self.burst_frees));
    }

    /// No more frees follow: says of each site which others outlived its blocks.
    fn end_burst(&self) {
        let count = self.burst_sites.swap(0, Ordering::Relaxed) as usize;
        store(&self.burst_frees, 0);
        let in_burst = || {
            let places = self.burst.iter().take(count).map(load);
            places.filter_map(|place| Some((place, self.site(place as u16)?)))
        };
        // Those that died last first: the outermost.
        let mut before = u32::MAX;
        while let Some((place, outer)) = in_burst()
            .filter(|(_, site)| load(&site.burst_last) < before)
            .max_by_key(|(_, site)| load(&site.burst_last))
        {
            before = load(&outer.burst_last);
            for (_, inner) in in_burst().filter(|(_, site)| load(&site.burst_last) < before) {
                inner.add_target(place + 1, load(&inner.burst_blocks));
            }
        }
        for (_, site) in in_burst() {
            store(&site.burst_blocks, 0);
            store(&site.burst_last, 0);
        }
    }
}
