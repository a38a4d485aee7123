//! Limits on block devices: which device, and how much of it (cgroup-v2.rst, IO; blkio-controller.rst of version 1).

use crate::error::{Error, ErrorKind, Result, SysContext};
use crate::runtime::cgroup::limits::Max;
use std::fmt;
use std::path::Path;

/// A device by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Device {
    /// Which driver.
    pub major: u32,
    /// Which of its devices.
    pub minor: u32,
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.major, self.minor)
    }
}

impl Device {
    /// The block device that `text` names: `254:0`, or a path such as `/dev/vda`.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when there is no such file; [`ErrorKind::InvalidArgument`] when it is no block device.
    pub fn block(op: &'static str, text: &str) -> Result<Self> {
        use std::os::unix::fs::{FileTypeExt, MetadataExt};
        if let Some((major, minor)) = text.split_once(':')
            && let (Ok(major), Ok(minor)) = (major.parse(), minor.parse())
        {
            return Ok(Self { major, minor });
        }
        if !text.starts_with('/') {
            let what = format!("io: {text:?} is no device");
            return Err(Error::new(ErrorKind::InvalidArgument, op, what)
                .hint("write a path such as \"/dev/sda\", or \"8:0\"; lsblk(8) shows both"));
        }
        let found = std::fs::metadata(text).context(op, format!("cannot examine the device {text}"));
        let found = found.map_err(|error| error.path(text))?;
        if !found.file_type().is_block_device() {
            let what = format!("io: {text} is not a block device");
            return Err(Error::new(ErrorKind::InvalidArgument, op, what)
                .path(text)
                .hint("name the device that the file lies on, as lsblk(8) shows it"));
        }
        Ok(Self::of(found.rdev()))
    }

    /// The device of this number, as stat(2) has it.
    #[must_use]
    pub fn of(number: u64) -> Self {
        Self { major: rustix::fs::major(number), minor: rustix::fs::minor(number) }
    }

    /// The disk that it is a part of, if it is a part: the kernel limits whole disks.
    #[must_use]
    pub fn disk(&self) -> Option<String> {
        let link = Path::new("/sys/dev/block").join(self.to_string());
        if !link.join("partition").exists() {
            return None;
        }
        let text = std::fs::read_to_string(link.join("../dev")).ok()?;
        Some(text.trim().to_owned())
    }
}

/// The four limits of `io.max`. `None` where nothing is asked; `Some(None)` for no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IoMax {
    /// Bytes read in a second.
    pub rbps: Option<Max>,
    /// Bytes written in a second.
    pub wbps: Option<Max>,
    /// Reads in a second.
    pub riops: Option<Max>,
    /// Writes in a second.
    pub wiops: Option<Max>,
}

impl IoMax {
    /// What is asked, with its name in `io.max` and its file in version 1.
    #[must_use]
    pub fn parts(&self) -> Vec<(&'static str, &'static str, Max)> {
        let all = [
            ("rbps", "blkio.throttle.read_bps_device", self.rbps),
            ("wbps", "blkio.throttle.write_bps_device", self.wbps),
            ("riops", "blkio.throttle.read_iops_device", self.riops),
            ("wiops", "blkio.throttle.write_iops_device", self.wiops),
        ];
        all.into_iter().filter_map(|(name, file, value)| Some((name, file, value?))).collect()
    }

    /// As `io.max` has it: `rbps=1048576 wiops=max`.
    #[must_use]
    pub fn shown(&self) -> String {
        let part = |(name, _, value): (&str, &str, Max)| {
            format!("{name}={}", value.map_or_else(|| "max".to_owned(), |value| value.to_string()))
        };
        self.parts().into_iter().map(part).collect::<Vec<_>>().join(" ")
    }
}
