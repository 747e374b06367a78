//! A headless Chromium, driven over its debugging pipe: open a page, click, evaluate, look.
//!
//! Two named pipes stand for the descriptors 3 and 4 that the browser speaks on, so no other program is needed; a port is opened only for its
//! own developer tools, which it serves there.
#![forbid(unsafe_code)]

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::{run, tool};

/// How long any one answer may take; the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running browser with one page.
#[derive(Debug)]
pub struct Browser {
    process: Child,
    directory: PathBuf,
    commands: File,
    messages: Receiver<Value>,
    session: String,
    next: u64,
    /// Errors on the console, and exceptions that nobody caught.
    pub errors: Vec<String>,
}

impl Browser {
    /// Starts one; `None`, and a line on stderr, where none is installed.
    ///
    /// # Panics
    /// When it is installed and does not answer.
    pub fn start(scratch: &Path) -> Option<Self> {
        Self::launch(scratch, &[])
    }

    /// Starts one that serves its developer tools, and inspects a page of it with them: this browser's page are then those tools.
    ///
    /// # Panics
    /// As [`start`](Self::start).
    pub fn start_developer_tools(scratch: &Path) -> Option<Self> {
        let port = ["--remote-debugging-port=0", "--remote-allow-origins=*"];
        let mut browser = Self::launch(scratch, &port)?;
        let file = browser.directory.join("profile/DevToolsActivePort");
        let until = Instant::now() + PATIENCE;
        let port = loop {
            let text = std::fs::read_to_string(&file).unwrap_or_default();
            if let Some((port, _)) = text.split_once('\n') {
                break port.to_owned();
            }
            assert!(Instant::now() < until, "the browser opened no port");
            std::thread::sleep(Duration::from_millis(20));
        };
        // To the browser itself, not to its page.
        let session = std::mem::take(&mut browser.session);
        let inspected = browser.ask("Target.createTarget", json!({ "url": "about:blank" }));
        browser.session = session;
        let inspected = inspected["targetId"].as_str().expect("a page").to_owned();
        let host = format!("127.0.0.1:{port}");
        browser.open_url(&format!(
            "http://{host}/devtools/inspector.html?ws={host}/devtools/page/{inspected}"
        ));
        // Behind the inspected page nothing is drawn, and rows that are not drawn are not there.
        browser.ask("Page.bringToFront", json!({}));
        Some(browser)
    }

    fn launch(scratch: &Path, more: &[&str]) -> Option<Self> {
        let chromium = tool(&["chromium", "chromium-browser", "google-chrome"], "chromium")?;
        let directory = scratch.join("browser");
        std::fs::create_dir_all(&directory).expect("the build directory can be written");
        let (to, from) = (directory.join("to"), directory.join("from"));
        run(Command::new("mkfifo").arg(&to).arg(&from));
        let script = r#"chromium=$1 profile=$2 to=$3 from=$4; shift 4; exec "$chromium" --headless=new --no-sandbox --disable-dev-shm-usage --no-first-run --disable-background-networking \
            --disable-component-update --use-angle=swiftshader --enable-unsafe-swiftshader --window-size=1200,900 \
            --remote-debugging-pipe --user-data-dir="$profile" "$@" about:blank 3<"$to" 4>"$from""#;
        let process = Command::new("sh")
            .args(["-c", script, "sh"])
            .args([chromium.as_path(), &directory.join("profile"), &to, &from])
            .args(more)
            .stdout(Stdio::null())
            .stderr(File::create(directory.join("stderr")).expect("a file"))
            .spawn()
            .expect("sh starts");
        // For reading and writing: opening must not wait for the other side, which may never come.
        let both = |path: &Path| OpenOptions::new().read(true).write(true).open(path).expect("a pipe");
        let commands = both(&to);
        let answers = both(&from);
        let (send, messages) = channel();
        std::thread::spawn(move || {
            for message in BufReader::new(answers).split(0) {
                let Ok(message) = message else { break };
                let message = serde_json::from_slice(&message).unwrap_or_default();
                if send.send(message).is_err() {
                    break;
                }
            }
        });
        let mut browser = Self {
            process,
            directory,
            commands,
            messages,
            session: String::new(),
            next: 0,
            errors: Vec::new(),
        };
        let target = browser.ask("Target.createTarget", json!({ "url": "about:blank" }));
        let attached = browser.ask(
            "Target.attachToTarget",
            json!({ "targetId": target["targetId"], "flatten": true }),
        );
        browser.session = attached["sessionId"].as_str().expect("a session").to_owned();
        for domain in ["Page.enable", "Runtime.enable", "Log.enable", "DOM.enable"] {
            browser.ask(domain, json!({}));
        }
        Some(browser)
    }

    /// Sends a command and waits for its answer.
    ///
    /// # Panics
    /// When it is refused, or does not come.
    pub fn ask(&mut self, method: &str, parameters: Value) -> Value {
        self.next += 1;
        let id = self.next;
        let mut command = json!({ "id": id, "method": method, "params": parameters });
        if !self.session.is_empty() {
            command["sessionId"] = json!(self.session);
        }
        let mut bytes = command.to_string().into_bytes();
        bytes.push(0);
        self.commands.write_all(&bytes).expect("the browser runs");
        let until = Instant::now() + PATIENCE;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let message = self.messages.recv_timeout(left).unwrap_or_else(|_| {
                let stderr = std::fs::read_to_string(self.directory.join("stderr")).unwrap_or_default();
                panic!("{method} was not answered\n{stderr}")
            });
            if message["id"] == json!(id) {
                assert!(message["error"].is_null(), "{method}: {}", message["error"]);
                return message["result"].clone();
            }
            self.note(&message);
        }
    }

    fn note(&mut self, message: &Value) {
        let params = &message["params"];
        match message["method"].as_str() {
            Some("Runtime.exceptionThrown") => self.errors.push(params["exceptionDetails"].to_string()),
            Some("Runtime.consoleAPICalled") if params["type"] == "error" => {
                self.errors.push(params["args"].to_string())
            }
            Some("Log.entryAdded") if params["entry"]["level"] == "error" => {
                self.errors.push(params["entry"].to_string())
            }
            _ => {}
        }
    }

    /// Opens a file, and waits until it is loaded.
    pub fn open(&mut self, file: &Path) {
        self.open_url(&format!("file://{}", file.display()));
    }

    /// Opens an address, and waits until it is loaded.
    pub fn open_url(&mut self, url: &str) {
        self.ask("Page.navigate", json!({ "url": url }));
        let address = url.split('#').next().unwrap_or(url);
        self.wait(&format!(
            "location.href.startsWith({}) && document.readyState === 'complete'",
            json!(address)
        ));
    }

    /// The value of an expression.
    ///
    /// # Panics
    /// When it throws.
    pub fn value(&mut self, expression: &str) -> Value {
        let answer = self.ask(
            "Runtime.evaluate",
            json!({ "expression": expression, "returnByValue": true, "awaitPromise": true }),
        );
        assert!(
            answer["exceptionDetails"].is_null(),
            "{expression}: {}",
            answer["exceptionDetails"]
        );
        answer["result"]["value"].clone()
    }

    /// The text of an expression.
    pub fn text(&mut self, expression: &str) -> String {
        match self.value(expression) {
            Value::String(text) => text,
            other => other.to_string(),
        }
    }

    /// Waits until an expression is true.
    ///
    /// # Panics
    /// When it never is.
    pub fn wait(&mut self, expression: &str) {
        let until = Instant::now() + PATIENCE;
        while self.value(expression) != Value::Bool(true) {
            if Instant::now() > until {
                let page = self.text("document.body && document.body.innerText.slice(0, 2000)");
                panic!(
                    "{expression} never became true; errors: {:?}; the page: {page}",
                    self.errors
                );
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// All text on the page, also of the elements that hide what they are made of; a line for each piece, with plain spaces.
    pub fn whole_text(&mut self) -> String {
        self.text(
            r"(() => {
              const pieces = [];
              const walk = node => {
                if (node.nodeType === 3 && node.textContent.trim()) pieces.push(node.textContent.trim());
                if (node.shadowRoot) walk(node.shadowRoot);
                for (const child of node.childNodes) if (!['STYLE', 'SCRIPT'].includes(child.tagName)) walk(child);
              };
              walk(document.body);
              return pieces.join('\n').replaceAll('\u00a0', ' ');
            })()",
        )
    }

    /// Presses and releases the mouse on the element around a text, wherever on the page.
    ///
    /// # Panics
    /// When there is no such text.
    pub fn click_text(&mut self, text: &str) {
        let place = self.value(&format!(
            r"(() => {{
              let found;
              const walk = node => {{
                if (node.nodeType === 3 && node.textContent.trim() === {}) found = node.parentElement;
                if (node.shadowRoot) walk(node.shadowRoot);
                node.childNodes.forEach(walk);
              }};
              walk(document.body);
              if (!found) return null;
              const box = found.getBoundingClientRect();
              return [box.x + box.width / 2, box.y + box.height / 2];
            }})()",
            json!(text)
        ));
        assert!(!place.is_null(), "no {text} on the page");
        for kind in ["mousePressed", "mouseReleased"] {
            self.ask(
                "Input.dispatchMouseEvent",
                json!({ "type": kind, "x": place[0], "y": place[1], "button": "left", "clickCount": 1 }),
            );
        }
    }

    /// Chooses a file in an `<input type=file>`.
    pub fn choose(&mut self, selector: &str, file: &Path) {
        let document = self.ask("DOM.getDocument", json!({}));
        let node = self.ask(
            "DOM.querySelector",
            json!({ "nodeId": document["root"]["nodeId"], "selector": selector }),
        );
        self.ask(
            "DOM.setFileInputFiles",
            json!({ "nodeId": node["nodeId"], "files": [file] }),
        );
    }

    /// `dark` or `light`, as the system's setting would have it.
    pub fn prefer(&mut self, scheme: &str) {
        self.ask(
            "Emulation.setEmulatedMedia",
            json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] }),
        );
    }

    /// The page as a picture, base64 of a PNG, for people who want to look: written where `ALLOCSCOPE_TEST_PICTURES` says, if it says.
    pub fn picture(&mut self, name: &str) {
        let Some(directory) = std::env::var_os("ALLOCSCOPE_TEST_PICTURES") else {
            return;
        };
        let picture = self.ask("Page.captureScreenshot", json!({ "format": "png" }));
        let data = picture["data"].as_str().unwrap_or_default();
        std::fs::write(Path::new(&directory).join(format!("{name}.png.base64")), data).expect("a picture");
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
