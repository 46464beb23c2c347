//! Where traced messages go: a thread of its own, so that neither a disk nor a collector can hold up a call.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufWriter, Write as _},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread::{self, JoinHandle},
};

use tracing::{info, warn};

use super::{
    Packet, TraceSettings,
    hep::{self, Agent},
    pcap,
};

/// Messages that may wait; more are dropped and counted.
const QUEUE: usize = 2_048;
/// A file that has grown so far is closed, and another begun.
const LARGEST_FILE: u64 = 64 << 20;
/// So many of our files are kept in the directory; the oldest go.
const MOST_FILES: usize = 20;

/// A running writer: the way to it, and its thread.
#[derive(Debug)]
pub(super) struct Writer {
    pub queue: SyncSender<Packet>,
    pub thread: JoinHandle<()>,
}

/// Opens what the settings name, and begins to write.
pub(super) fn start(settings: &TraceSettings) -> io::Result<Writer> {
    let collector = settings.hep.map(|address| Collector::open(address, settings)).transpose()?;
    if let Some(directory) = &settings.pcap
        && !directory.is_dir()
    {
        return Err(io::Error::new(io::ErrorKind::NotADirectory, format!("{} is no directory", directory.display())));
    }
    let files = settings.pcap.as_ref().map(|directory| Files { directory: directory.clone(), open: None, written: 0 });
    let (queue, packets) = sync_channel(QUEUE);
    let thread = thread::Builder::new().name("sip-trace".into()).spawn(move || run(&packets, collector.as_ref(), files))?;
    Ok(Writer { queue, thread })
}

/// Until every sender is gone.
fn run(packets: &Receiver<Packet>, collector: Option<&Collector>, mut files: Option<Files>) {
    let mut refused = false;
    while let Ok(first) = packets.recv() {
        let mut next = Some(first);
        while let Some(packet) = next {
            if let Some(collector) = collector
                && let Err(error) = collector.send(&packet)
                && !std::mem::replace(&mut refused, true)
            {
                warn!(%error, "the trace's collector cannot be reached; it is tried again with every message");
            }
            files = files.and_then(|files| files.kept(|f| f.write(&packet)));
            next = packets.try_recv().ok();
        }
        // Nothing waits: what is written can be looked at.
        files = files.and_then(|files| files.kept(Files::flush));
    }
}

#[derive(Debug)]
struct Collector {
    socket: UdpSocket,
    agent: Agent,
}

impl Collector {
    fn open(address: SocketAddr, settings: &TraceSettings) -> io::Result<Self> {
        let any: SocketAddr = if address.is_ipv4() { (Ipv4Addr::UNSPECIFIED, 0).into() } else { (Ipv6Addr::UNSPECIFIED, 0).into() };
        let socket = UdpSocket::bind(any)?;
        socket.connect(address)?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket, agent: Agent { node: settings.hep_node, key: settings.hep_key.clone() } })
    }

    fn send(&self, packet: &Packet) -> io::Result<()> {
        self.socket.send(&hep::encode(packet, &self.agent)).map(|_| ())
    }
}

#[derive(Debug)]
struct Files {
    directory: PathBuf,
    open: Option<BufWriter<File>>,
    written: u64,
}

impl Files {
    /// A disk that is full or gone ends the files, not the service.
    fn kept(mut self, write: impl FnOnce(&mut Self) -> io::Result<()>) -> Option<Self> {
        match write(&mut self) {
            Ok(()) => Some(self),
            Err(error) => {
                warn!(directory = %self.directory.display(), %error, "no more trace files");
                None
            }
        }
    }

    fn write(&mut self, packet: &Packet) -> io::Result<()> {
        if self.written >= LARGEST_FILE {
            self.flush()?;
            self.open = None;
        }
        let file = if let Some(file) = &mut self.open {
            file
        } else {
            let path = self.directory.join(format!("sip-{}.pcap", packet.at.format("%Y%m%d-%H%M%S-%6f")));
            info!(file = %path.display(), "tracing SIP");
            // Callers' numbers are in it.
            let mut file = BufWriter::new(OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?);
            file.write_all(&pcap::header())?;
            self.written = 0;
            forget_oldest(&self.directory)?;
            self.open.insert(file)
        };
        let record = pcap::record(packet);
        file.write_all(&record)?;
        self.written += record.len() as u64;
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.open.as_mut().map_or(Ok(()), BufWriter::flush)
    }
}

/// Deletes the oldest of our files where there are too many; their names sort by time.
fn forget_oldest(directory: &Path) -> io::Result<()> {
    let is_ours = |name: &str| name.strip_suffix(".pcap").is_some_and(|name| name.starts_with("sip-2"));
    let mut names: Vec<_> =
        fs::read_dir(directory)?.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).filter(|name| is_ours(name)).collect();
    names.sort();
    let surplus = names.len().saturating_sub(MOST_FILES);
    for name in &names[..surplus] {
        fs::remove_file(directory.join(name))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(at: &str) -> Packet {
        let end = SocketAddr::from(([127, 0, 0, 1], 5_060));
        Packet::new(at.parse().unwrap(), false, end, end, "c".into(), b"OPTIONS sip:h SIP/2.0\r\n\r\n")
    }

    #[test]
    fn files_are_private_and_only_so_many_are_kept() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("notes.pcap"), "").unwrap();
        for n in 0..MOST_FILES + 3 {
            let mut files = Files { directory: dir.path().to_owned(), open: None, written: 0 };
            files.write(&packet(&format!("2026-10-12T16:30:{n:02}Z"))).unwrap();
            files.flush().unwrap();
        }
        let mut names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        assert_eq!(names.len(), MOST_FILES + 1);
        assert_eq!((names[0].as_str(), names[1].as_str()), ("notes.pcap", "sip-20261012-163003-000000.pcap"));
        assert_eq!(fs::metadata(dir.path().join(&names[1])).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_directory_that_is_not_there_is_told_at_once() {
        let settings = TraceSettings { pcap: Some("/nowhere/at/all".into()), ..TraceSettings::default() };
        assert!(start(&settings).unwrap_err().to_string().contains("/nowhere/at/all"));
    }
}
