//! The incident, and what was done about it: is the user of a payment on the list of risky users?

/// A set per request, out of the cached list.
#[track_memory(request)]
async fn check_fraud_set(store: &Store, payment: &Payment) -> Result<bool, Error> {
    let Some(cached) = store.get("risky_users").await? else {
        let rows = store.query("SELECT user_id FROM risky_users WHERE active").await?;
        let risky: HashSet<u64> = rows.iter().map(|row| row.user_id).collect(); //~ rebuilt HashSet
        store.set("risky_users", 300, &risky).await?;
        return Ok(risky.contains(&payment.user));
    };
    let risky: HashSet<u64> = serde_json::from_str(&cached)?; //~ rebuilt HashSet
    Ok(risky.contains(&payment.user))
}

/// The list, then the set: both are new.
#[alloc_core::track_memory(name = "check", request)]
fn check_fraud_list_and_set(cached: &str, payment: &Payment) -> Result<bool, Error> {
    let list: Vec<u64> = serde_json::from_str(cached)?; //~ rebuilt Vec
    let risky: HashSet<u64> = list.into_iter().collect(); //~ rebuilt HashSet
    Ok(risky.contains(&payment.user))
}

/// In one line.
#[alloc_core::track_memory(request)]
fn check_fraud_in_one(cached: &str, payment: &Payment) -> Result<bool, Error> {
    Ok(HashSet::<u64>::from_iter(serde_json::from_str::<Vec<u64>>(cached)?).contains(&payment.user)) //~ rebuilt HashSet, Vec
}

/// "No need for a set": cheaper, and still a list for each request.
#[track_memory(request)]
fn check_fraud_list(cached: &str, payment: &Payment) -> Result<bool, Error> {
    let risky: Vec<u64> = serde_json::from_str(cached)?; //~ rebuilt Vec
    Ok(risky.contains(&payment.user))
}

/// A helper makes it: seen where it is called.
fn read_risky(cached: &str) -> Result<HashSet<u64>, Error> {
    let mut risky = HashSet::new();
    for part in cached.split(',') {
        risky.insert(part.parse()?);
    }
    Ok(risky)
}

#[track_memory(request)]
fn check_fraud_by_helper(cached: &str, payment: &Payment) -> Result<bool, Error> {
    let risky = read_risky(cached)?; //~ rebuilt HashSet
    Ok(risky.contains(&payment.user))
}

/// The request calls a function that makes it.
fn is_risky(cached: &str, user: u64) -> bool {
    let risky: HashSet<u64> = cached.split(',').filter_map(|part| part.parse().ok()).collect(); //~ rebuilt HashSet
    risky.contains(&user)
}

#[track_memory(request)]
fn check_fraud_by_question(cached: &str, payment: &Payment) -> bool {
    is_risky(cached, payment.user)
}

/// Built once, refreshed when the list expires, swapped as a whole.
struct Refreshed {
    risky: ArcSwap<HashSet<u64>>,
}

impl Refreshed {
    async fn refresh(&self, store: &Store) -> Result<(), Error> {
        let rows = store.query("SELECT user_id FROM risky_users WHERE active").await?;
        let risky: HashSet<u64> = rows.iter().map(|row| row.user_id).collect();
        self.risky.store(Arc::new(risky));
        Ok(())
    }

    async fn refresh_for_ever(&self, store: &Store) {
        let mut interval = interval(Duration::from_secs(300));
        loop {
            interval.tick().await;
            let rows = store.rows().await;
            let risky: HashSet<u64> = rows.iter().map(|row| row.user_id).collect();
            self.risky.store(Arc::new(risky));
        }
    }

    #[track_memory(request)]
    fn check(&self, payment: &Payment) -> bool {
        self.risky.load().contains(&payment.user)
    }
}

static RISKY: OnceLock<HashSet<u64>> = OnceLock::new();

#[track_memory(request)]
fn check_once_built(store: &Store, payment: &Payment) -> bool {
    let risky = RISKY.get_or_init(|| {
        let mut risky = HashSet::new();
        for row in store.rows() {
            risky.insert(row.user_id);
        }
        risky
    });
    risky.contains(&payment.user)
}

/// A Bloom filter, refreshed and swapped.
struct Bloom {
    filter: RwLock<Filter>,
}

impl Bloom {
    fn refresh(&self, rows: &[Row]) {
        let mut bits = vec![0_u64; 4096];
        for row in rows {
            set_bit(&mut bits, row.user_id);
        }
        *self.filter.write() = Filter { bits };
    }

    #[track_memory(request)]
    fn check(&self, payment: &Payment) -> bool {
        self.filter.read().may_contain(payment.user)
    }
}

/// The store is asked.
#[track_memory(request)]
async fn check_membership(store: &Store, payment: &Payment) -> Result<bool, Error> {
    store.is_member("risky_users", payment.user).await
}
