//! What a request makes and drops, and its fixes.
use alloc_core::{track_memory as scope, tracked};
use regex::Regex;
use std::sync::Arc;

#[scope(request)]
fn regex_bad(text: &str) -> bool {
    let word = Regex::new(r"^\w+$").unwrap(); //~ rebuilt Regex
    word.is_match(text)
}

#[scope(request)]
fn regex_good(text: &str) -> bool {
    static WORD: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"^\w+$").unwrap());
    WORD.is_match(text)
}

fn regex_in_loop_bad(lines: &[&str]) -> usize {
    let mut count = 0;
    for line in lines {
        if Regex::new("^a").is_ok_and(|re| re.is_match(line)) { //~ rebuilt Regex
            count += 1;
        }
    }
    count
}

#[scope(request)]
fn json_bad(body: &str) -> Result<u64, Error> {
    let value: Value = serde_json::from_str(body)?; //~ rebuilt Json
    value["id"].as_u64().ok_or(Error::NoId)
}

#[scope(request)]
fn json_good(body: &str) -> Result<u64, Error> {
    #[derive(Deserialize)]
    struct Body<'a> {
        id: u64,
        #[serde(borrow)]
        name: Cow<'a, str>,
    }
    let id: u64 = serde_json::from_str(body)?;
    Ok(id)
}

#[derive(Clone)]
struct Settings {
    name: String,
    limits: Vec<u64>,
}

#[derive(Clone)]
struct Point {
    x: f64,
    y: f64,
}

struct App {
    settings: Settings,
    origin: Point,
    shared: Arc<Settings>,
    names: Vec<String>,
}

impl App {
    #[scope(request)]
    fn settings_bad(&self, user: &User) -> u64 {
        let settings = self.settings.clone(); //~ rebuilt Clone
        settings.limits[user.level]
    }

    #[scope(request)]
    fn settings_good(&self, user: &User) -> f64 {
        let settings = self.shared.clone();
        let origin = self.origin.clone();
        settings.limits[user.level] as f64 * origin.x
    }

    #[scope(request)]
    fn names_bad(&self, user: &User) -> bool {
        let mut names = self.names.clone(); //~ rebuilt Vec
        names.sort();
        names.binary_search(&user.name).is_ok()
    }

    #[scope(request)]
    fn labels_bad(&self, user: &User) -> usize {
        self.label(user)
    }

    fn label(&self, user: &User) -> usize {
        let label = format!("{} of {}", user.name, self.settings.name); //~ rebuilt String
        self.measure(&label)
    }

    /// Two calls away from the request: not seen.
    fn measure(&self, label: &str) -> usize {
        let letters: Vec<char> = label.chars().collect();
        letters.len()
    }
}

#[alloc_core::track_memory(request, loops)]
async fn buffer_bad(request: Request) -> Result<u64, Error> {
    let mut buffer = Vec::with_capacity(4096); //~ rebuilt Vec
    request.body().read_to_end(&mut buffer).await?;
    Ok(checksum(&buffer))
}

#[alloc_core::track_memory(request)]
async fn buffer_good(request: Request, buffer: &mut Vec<u8>) -> Result<u64, Error> {
    buffer.clear();
    request.body().read_to_end(buffer).await?;
    Ok(checksum(buffer))
}

#[scope(request)]
fn loop_in_request_bad(orders: &[Order]) -> u64 {
    let mut sum = 0;
    for order in orders {
        let lines: Vec<u64> = order.lines().map(|line| line.price()).collect(); //~ rebuilt Vec
        sum += median(&lines);
    }
    sum
}

#[scope(request)]
fn depth_bad(node: &Node, depth: usize) -> usize {
    let path = format!("{}/{depth}", node.name); //~ rebuilt String
    let below = node.children().map(|child| depth_bad(child, depth + 1)).max();
    below.unwrap_or(depth) + known(&path)
}

fn router() -> Router {
    let unmarked = |request: Request| {
        let words: Vec<&str> = request.path().split('/').collect();
        words.len()
    };
    Router::new()
        .route("/words", get(tracked!(name = "words, all", request, |request: Request| {
            let words: Vec<&str> = request.path().split('/').collect(); //~ rebuilt Vec
            words.len()
        })))
        .route("/other", get(unmarked))
        .route("/not", get(tracked!(|request: Request| {
            let words: Vec<&str> = request.path().split('/').collect();
            words.len()
        })))
}

mod handlers {
    #[cfg_attr(feature = "memory", alloc_core::track_memory(request))]
    pub fn conditional_bad(tags: &str) -> bool {
        let tags: BTreeSet<&str> = tags.split(',').collect(); //~ rebuilt BTreeSet
        tags.contains("new")
    }
}

#[track_memory]
mod marked {
    pub fn not_a_request_good(tags: &str) -> bool {
        let tags: Vec<&str> = tags.split(',').collect();
        tags.contains(&"new")
    }
}

struct Shop;

#[track_memory]
impl Shop {
    #[track_memory(name = "shop", request)]
    fn check_bad(&self, tags: &str) -> bool {
        let tags: Vec<&str> = tags.split(',').collect(); //~ rebuilt Vec
        tags.contains(&"new")
    }

    fn check_good(&self, tags: &str) -> bool {
        let tags: Vec<&str> = tags.split(',').collect();
        tags.contains(&"new")
    }
}

async fn served_bad(mut receiver: Receiver<Message>, mut stop: Receiver<()>) {
    loop {
        tokio::select! {
            Some(message) = receiver.recv() => {
                let words: Vec<&str> = message.text().split(' ').collect(); //~ rebuilt Vec
                count(words.len());
            }
            _ = stop.recv() => break,
        }
    }
}

fn own_type_good(lists: &[List]) {
    for list in lists {
        let names = pool::Vec::take();
        fill(names, list);
    }
}
