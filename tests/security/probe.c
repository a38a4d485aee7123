/*
 * Tries, from inside a container, what must not work there, and says what the kernel answered: a line `NAME ERRNO` for each
 * attempt, `OK` where it worked. Linked statically: it needs nothing of the root that it runs in. An attempt that works
 * does no harm: calls that would change the machine get arguments that they refuse, files are opened and not written.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/personality.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <sys/timex.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void say(const char *name, long result)
{
	printf("%s %s\n", name, result < 0 ? strerrorname_np(errno) : "OK");
}

#define TRY(name, call) do { errno = 0; say(name, (long)(call)); } while (0)
#define CALL(name, ...) TRY(#name, syscall(SYS_##name, __VA_ARGS__))

static long writable(const char *path)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd >= 0)
		close(fd);
	return fd;
}

/* Whether a path can be read, and holds something: a masked one is empty. */
static long read_from(const char *path)
{
	char byte;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return -1;
	long result = read(fd, &byte, 1);
	int saved = errno;
	close(fd);
	errno = result == 0 ? ENODATA : saved;
	return result == 1 ? 0 : -1;
}

/* Makes a device node in /tmp and opens it. */
static long device(mode_t kind, int major, int minor)
{
	const char *path = "/tmp/probe-node";
	unlink(path);
	if (mknod(path, kind | 0666, makedev(major, minor)) < 0)
		return -1;
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	int saved = errno;
	unlink(path);
	if (fd >= 0)
		close(fd);
	errno = saved;
	return fd;
}

static long clone_with(unsigned long flags)
{
	long pid = syscall(SYS_clone, flags | SIGCHLD, 0, 0, 0, 0);
	if (pid == 0)
		_exit(0);
	if (pid > 0)
		waitpid(pid, 0, 0);
	return pid;
}

/* A call of a 32-bit program: the number in the table of i386. */
static long call32(int number, long first)
{
	long result;
	__asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(first) : "memory", "r8", "r9", "r10", "r11");
	if (result < 0 && result > -4096) {
		errno = -result;
		return -1;
	}
	return result;
}

static void namespaces(void)
{
	TRY("unshare_user", unshare(CLONE_NEWUSER));
	TRY("unshare_mount", unshare(CLONE_NEWNS));
	TRY("unshare_pid", unshare(CLONE_NEWPID));
	TRY("unshare_net", unshare(CLONE_NEWNET));
	TRY("unshare_uts", unshare(CLONE_NEWUTS));
	TRY("unshare_ipc", unshare(CLONE_NEWIPC));
	TRY("unshare_cgroup", unshare(CLONE_NEWCGROUP));
	TRY("clone_user", clone_with(CLONE_NEWUSER));
	CALL(clone3, 0, 0);
	TRY("setns", setns(0, 0));
	TRY("sethostname", sethostname("probe", 5));
	TRY("setdomainname", setdomainname("probe", 5));
}

static void mounts(void)
{
	TRY("mount_tmpfs", mount("none", "/tmp", "tmpfs", 0, ""));
	TRY("mount_cgroup", mount("none", "/tmp", "cgroup", 0, "memory"));
	TRY("mount_proc", mount("proc", "/tmp", "proc", 0, ""));
	TRY("remount_sys", mount("none", "/sys", "", MS_REMOUNT | MS_BIND, ""));
	TRY("umount_keys", umount2("/proc/keys", MNT_DETACH));
	CALL(pivot_root, "/", "/");
	CALL(open_tree, AT_FDCWD, "/", 1);
	CALL(move_mount, 0, "", 0, "", 0);
	CALL(fsopen, "tmpfs", 0);
	CALL(mount_setattr, AT_FDCWD, "/", 0, 0, 0);
}

static void kernel(void)
{
	CALL(bpf, 0, 0, 0);
	CALL(perf_event_open, 0, 0, 0, 0, 0);
	CALL(userfaultfd, 0);
	CALL(io_uring_setup, 1, 0);
	CALL(io_uring_enter, 0, 0, 0, 0, 0, 0);
	CALL(io_uring_register, 0, 0, 0, 0);
	CALL(keyctl, 0, 0, 0, 0, 0);
	CALL(add_key, "user", "x", "y", 1, -3);
	CALL(request_key, "user", "x", 0, -3);
	CALL(kexec_load, 0, 0, 0, 0);
	CALL(kexec_file_load, 0, 0, 0, "", 0);
	CALL(init_module, 0, 0, "");
	CALL(finit_module, 0, "", 0);
	CALL(delete_module, "x", 0);
	CALL(open_by_handle_at, 0, 0, 0);
	CALL(syslog, 10, 0, 0);
	CALL(acct, 0);
	CALL(swapon, "/x", 0);
	CALL(swapoff, "/x");
	CALL(quotactl, 0, 0, 0, 0);
	CALL(iopl, 3);
	CALL(ioperm, 0, 1, 1);
	CALL(lookup_dcookie, 0, 0, 0);
	CALL(nfsservctl, 0, 0, 0);
	CALL(kcmp, 1, 1, 0, 0, 0);
	CALL(pidfd_getfd, 0, 0, 0);
	CALL(set_mempolicy, 0, 0, 0);
	CALL(mbind, 0, 0, 0, 0, 0, 0);
	CALL(move_pages, 0, 0, 0, 0, 0, 0);
	CALL(vhangup, 0);
	CALL(fanotify_init, 0, 0);
	CALL(reboot, 0xfee1dead, 672274793, 0x12345678, 0);
	struct timex tx = { .modes = ADJ_OFFSET };
	TRY("adjtimex", adjtimex(&tx));
	struct timespec never = { .tv_nsec = -1 };
	CALL(clock_settime, CLOCK_REALTIME, &never);
	TRY("personality", personality(ADDR_NO_RANDOMIZE));
	TRY("unknown_call", syscall(1000));
	TRY("x32_call", syscall(0x40000000 + SYS_getpid));
	TRY("mount_32", call32(21, 0));
	TRY("keyctl_32", call32(288, 0));
	TRY("unshare_32", call32(310, CLONE_NEWUSER));
}

static void sockets(void)
{
	TRY("af_alg", socket(38, SOCK_SEQPACKET, 0));
	TRY("af_vsock", socket(40, SOCK_STREAM, 0));
	TRY("af_alg_high", syscall(SYS_socket, 0x100000026, SOCK_SEQPACKET, 0));
	TRY("af_packet", socket(AF_PACKET, SOCK_RAW, 0));
	TRY("raw", socket(AF_INET, SOCK_RAW, 1));
	TRY("inet", socket(AF_INET, SOCK_STREAM, 0));
}

static void devices(void)
{
	TRY("node_null", device(S_IFCHR, 1, 3));
	TRY("node_mem", device(S_IFCHR, 1, 1));
	TRY("node_kmsg", device(S_IFCHR, 1, 11));
	TRY("node_tun", device(S_IFCHR, 10, 200));
	TRY("node_fuse", device(S_IFCHR, 10, 229));
	TRY("node_kvm", device(S_IFCHR, 10, 232));
	TRY("node_disk", device(S_IFBLK, 254, 0));
	TRY("node_loop", device(S_IFBLK, 7, 0));
}

static void files(void)
{
	TRY("write_core_pattern", writable("/proc/sys/kernel/core_pattern"));
	TRY("write_hostname", writable("/proc/sys/kernel/hostname"));
	TRY("write_sysrq", writable("/proc/sysrq-trigger"));
	TRY("write_uevent", writable("/sys/kernel/uevent_helper"));
	TRY("write_cgroup", writable("/sys/fs/cgroup/memory/memory.limit_in_bytes"));
	TRY("write_release_agent", writable("/sys/fs/cgroup/memory/release_agent"));
	TRY("write_irq", writable("/proc/irq/default_smp_affinity"));
	TRY("read_kcore", read_from("/proc/kcore"));
	TRY("read_keys", read_from("/proc/keys"));
	TRY("read_timer_list", read_from("/proc/timer_list"));
	TRY("read_interrupts", read_from("/proc/interrupts"));
	TRY("read_kmsg", read_from("/proc/kmsg"));
	TRY("read_firmware", access("/sys/firmware/dmi", F_OK));
	TRY("chmod_stdin", fchmod(0, 0666));
	TRY("mkdir_sys", mkdir("/sys/x", 0755));
	TRY("mkdir_proc", mkdir("/proc/x", 0755));
}

static void processes(void)
{
	TRY("ptrace_init", getpid() == 1 ? (errno = ESRCH, -1) : ptrace(PTRACE_ATTACH, getppid(), 0, 0));
	TRY("root_of_init", access("/proc/1/root/dev", F_OK));
	TRY("ptrace_me", ptrace(PTRACE_TRACEME, 0, 0, 0));
	TRY("kill_others", kill(30000, 0));
	TRY("setuid_root", setuid(0));
	TRY("tiocsti", ioctl(0, TIOCSTI, "x"));
	TRY("chroot", chroot("/"));
}

/* Whether a process is still a part of the program that starts it, or in the last stage of its start. */
static int is_starting(int pid)
{
	char path[64], name[32] = "";
	snprintf(path, sizeof path, "/proc/%d/comm", pid);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	long len = read(fd, name, sizeof name - 1);
	close(fd);
	return len > 0 && !strncmp(name, "cshell", 6) && strncmp(name, "cshell-ns", 9);
}

/* Tries to trace, and to look into, every process that appears, until it is killed. */
static void trace(void)
{
	printf("ready\n");
	for (;;)
		for (int pid = 1; pid < 400; pid++) {
			if (pid == getpid() || !is_starting(pid))
				continue;
			if (!ptrace(PTRACE_SEIZE, pid, 0, 0)) {
				if (is_starting(pid))
					printf("TRACED %d\n", pid);
				/* Only one that has stopped can be let go, and one that ends meanwhile stays until its tracer knows. */
				ptrace(PTRACE_INTERRUPT, pid, 0, 0);
				waitpid(pid, 0, __WALL);
				ptrace(PTRACE_DETACH, pid, 0, 0);
			}
			for (int fd = 3; fd < 5; fd++) {
				char path[64];
				snprintf(path, sizeof path, "/proc/%d/fd/%d", pid, fd);
				int opened = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
				if (opened >= 0 && is_starting(pid))
					printf("OPENED %s\n", path);
				close(opened);
			}
		}
}

int main(int argc, char **argv)
{
	setvbuf(stdout, 0, _IONBF, 0);
	if (argc > 1 && !strcmp(argv[1], "trace"))
		trace();
	namespaces();
	mounts();
	kernel();
	sockets();
	devices();
	files();
	processes();
	return 0;
}
