// SPDX-License-Identifier: MIT
// A file system for tests: `faulty_disk FILE MOUNTPOINT` shows FILE as MOUNTPOINT/disk, and fails, delays or holds up
// what the test wants. It runs until it is unmounted. A test writes a command to MOUNTPOINT/control; when the write
// returns, the command is in force:
//   fail OFFSET LENGTH   reads of these bytes fail with EIO
//   fail-read N          the Nth READ request from now on fails, and so does every later read of its bytes
//   heal                 nothing fails any more
//   hold / release       reads wait until `release`
//   delay MILLISECONDS   each read takes so much longer
//   drop                 the kernel forgets the content of `disk`
//   size BYTES           the file has this size from now on; its time of modification changes
// Reading MOUNTPOINT/reads gives the number of READ requests since the start.
#define FUSE_USE_VERSION 314
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <mutex>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

namespace {

constexpr fuse_ino_t kDisk = 2;
constexpr fuse_ino_t kControl = 3;
constexpr fuse_ino_t kReads = 4;
constexpr double kTimeout = 3600;

struct Disk {
  int fd = -1;
  off_t size = 0;
  timespec modified{};
  fuse_session* session = nullptr;

  std::mutex mutex;
  std::condition_variable changed;
  std::vector<std::pair<off_t, off_t>> failing;  // begin, end
  long fail_at = 0;                              // reads until the one that fails; 0: none
  bool held = false;
  std::chrono::milliseconds delay{0};
  long reads = 0;
};
Disk disk;

struct stat attributes(fuse_ino_t ino) {
  struct stat status{};
  status.st_ino = ino;
  status.st_nlink = 1;
  status.st_mode = ino == FUSE_ROOT_ID ? S_IFDIR | 0755 : S_IFREG | 0644;
  status.st_size = ino == kDisk ? disk.size : ino == kReads ? 20 : 0;
  status.st_mtim = status.st_ctim = disk.modified;
  return status;
}

void lookup(fuse_req_t req, fuse_ino_t, const char* name) {
  const std::string_view wanted = name;
  fuse_entry_param entry{};
  entry.ino = wanted == "disk" ? kDisk : wanted == "control" ? kControl : wanted == "reads" ? kReads : 0;
  if (entry.ino == 0) {
    fuse_reply_err(req, ENOENT);
    return;
  }
  entry.attr = attributes(entry.ino);
  entry.attr_timeout = entry.entry_timeout = kTimeout;
  fuse_reply_entry(req, &entry);
}

void getattr(fuse_req_t req, fuse_ino_t ino, fuse_file_info*) {
  const struct stat status = attributes(ino);
  fuse_reply_attr(req, &status, kTimeout);
}

void setattr(fuse_req_t req, fuse_ino_t ino, struct stat*, int, fuse_file_info* info) { getattr(req, ino, info); }

void open(fuse_req_t req, fuse_ino_t ino, fuse_file_info* info) {
  info->keep_cache = ino == kDisk ? 1 : 0;
  info->direct_io = ino == kDisk ? 0 : 1;
  fuse_reply_open(req, info);
}

/// Whether the read fails, after it has waited as long as the test wants.
bool fails(off_t begin, off_t end) {
  std::unique_lock lock(disk.mutex);
  ++disk.reads;
  if (disk.fail_at > 0 && --disk.fail_at == 0) {
    disk.failing.emplace_back(begin, end);
  }
  disk.changed.wait(lock, [] { return !disk.held; });
  const auto delay = disk.delay;
  const bool failing = std::any_of(disk.failing.begin(), disk.failing.end(),
                                   [&](const auto& one) { return one.first < end && begin < one.second; });
  lock.unlock();
  std::this_thread::sleep_for(delay);
  return failing;
}

void read(fuse_req_t req, fuse_ino_t ino, std::size_t size, off_t offset, fuse_file_info*) {
  if (ino == kReads) {
    const std::lock_guard lock(disk.mutex);
    const std::string text = std::to_string(disk.reads);
    const auto from = std::min(static_cast<std::size_t>(offset), text.size());
    fuse_reply_buf(req, text.data() + from, std::min(size, text.size() - from));
    return;
  }
  if (fails(offset, offset + static_cast<off_t>(size))) {
    fuse_reply_err(req, EIO);
    return;
  }
  std::vector<char> bytes(size);
  const off_t left = std::max<off_t>(disk.size - offset, 0);
  const ssize_t count =
      ::pread(disk.fd, bytes.data(), std::min<std::size_t>(size, static_cast<std::size_t>(left)), offset);
  if (count < 0) {
    fuse_reply_err(req, errno);
  } else {
    fuse_reply_buf(req, bytes.data(), static_cast<std::size_t>(count));
  }
}

/// False: there is no such command.
bool obey(const std::string& text) {
  std::istringstream words(text);
  std::string command;
  long long first = 0;
  long long second = 0;
  words >> command >> first >> second;
  {
    const std::lock_guard lock(disk.mutex);
    if (command == "fail") {
      disk.failing.emplace_back(first, first + second);
    } else if (command == "fail-read") {
      disk.fail_at = first;
    } else if (command == "heal") {
      disk.failing.clear();
      disk.fail_at = 0;
    } else if (command == "hold" || command == "release") {
      disk.held = command == "hold";
      disk.changed.notify_all();
    } else if (command == "delay") {
      disk.delay = std::chrono::milliseconds(first);
    } else if (command == "size") {
      disk.size = first;
      ++disk.modified.tv_sec;
    } else if (command != "drop") {
      return false;
    }
  }
  if (command == "drop" || command == "size") {
    fuse_lowlevel_notify_inval_inode(disk.session, kDisk, 0, 0);
  }
  return true;
}

void write(fuse_req_t req, fuse_ino_t, const char* text, std::size_t size, off_t, fuse_file_info*) {
  if (obey(std::string(text, size))) {
    fuse_reply_write(req, size);
  } else {
    fuse_reply_err(req, EINVAL);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::cerr << "usage: faulty_disk FILE MOUNTPOINT\n";
    return EXIT_FAILURE;
  }
  disk.fd = ::open(argv[1], O_RDONLY | O_CLOEXEC);
  struct stat status{};
  if (disk.fd < 0 || ::fstat(disk.fd, &status) != 0) {
    std::cerr << argv[1] << ": " << std::strerror(errno) << '\n';
    return EXIT_FAILURE;
  }
  disk.size = status.st_size;
  disk.modified = status.st_mtim;
  fuse_lowlevel_ops operations{};
  operations.lookup = lookup;
  operations.getattr = getattr;
  operations.setattr = setattr;
  operations.open = open;
  operations.read = read;
  operations.write = write;
  std::string name = "faulty_disk";
  std::string option = "-oallow_other,fsname=faulty_disk";
  char* arguments[] = {name.data(), option.data(), nullptr};  // NOLINT(modernize-avoid-c-arrays)
  fuse_args args = FUSE_ARGS_INIT(2, arguments);
  disk.session = fuse_session_new(&args, &operations, sizeof(operations), nullptr);
  if (disk.session == nullptr || fuse_set_signal_handlers(disk.session) != 0 ||
      fuse_session_mount(disk.session, argv[2]) != 0) {
    return EXIT_FAILURE;
  }
  fuse_loop_config* config = fuse_loop_cfg_create();
  fuse_loop_cfg_set_clone_fd(config, 0);
  const int result = fuse_session_loop_mt(disk.session, config);
  fuse_loop_cfg_destroy(config);
  fuse_session_unmount(disk.session);
  fuse_remove_signal_handlers(disk.session);
  fuse_session_destroy(disk.session);
  return result == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
