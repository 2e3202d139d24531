// SPDX-License-Identifier: MIT
#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <clocale>
#include <map>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "core/base/limits.h"
#include "core/base/unique_fd.h"
#include "core/load/tarball.h"

namespace pkgfs {

namespace {

/// libarchive converts names with the thread's locale; in "C" it refuses or mangles what isn't ASCII.
class Utf8Locale {
 public:
  Utf8Locale() : locale_(::newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr)) {
    if (locale_ != nullptr) {
      before_ = ::uselocale(locale_);
    }
  }
  ~Utf8Locale() {
    if (locale_ != nullptr) {
      ::uselocale(before_);
      ::freelocale(locale_);
    }
  }
  Utf8Locale(const Utf8Locale&) = delete;
  Utf8Locale& operator=(const Utf8Locale&) = delete;

 private:
  locale_t locale_;
  locale_t before_ = nullptr;
};

struct ReadArchive {
  ReadArchive() : handle(::archive_read_new()) {}
  ~ReadArchive() { ::archive_read_free(handle); }
  ReadArchive(const ReadArchive&) = delete;
  ReadArchive& operator=(const ReadArchive&) = delete;
  struct archive* handle;
};

[[noreturn]] void refuse(std::string_view entry, std::string_view why) {
  throw Error(ErrorCode::kCorrupt, "the entry \"" + std::string(entry) + "\" " + std::string(why));
}

[[noreturn]] void fail_errno(std::string_view entry, int errnum) {
  throw system_error("the entry \"" + std::string(entry) + "\"", errnum);
}

/// The components of an entry's name. Refuses what leads out of the archive.
std::vector<std::string> components_of(std::string_view name) {
  if (name.starts_with('/')) {
    refuse(name, "has an absolute name");
  }
  std::vector<std::string> components;
  for (std::string_view rest = name; !rest.empty();) {
    const auto end = std::min(rest.find('/'), rest.size());
    const auto component = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (component == "..") {
      refuse(name, "has a name with \"..\"");
    }
    if (!component.empty() && component != ".") {
      components.emplace_back(component);
    }
  }
  return components;
}

/// Whether a link in a directory at `depth` below the root stays inside, by its text, all the way.
bool stays_inside(std::string_view target, std::size_t depth) {
  if (target.starts_with('/')) {
    return false;
  }
  while (!target.empty()) {
    const auto end = std::min(target.find('/'), target.size());
    const auto component = target.substr(0, end);
    target.remove_prefix(std::min(end + 1, target.size()));
    if (component == "..") {
      if (depth == 0) {
        return false;
      }
      --depth;
    } else if (!component.empty() && component != ".") {
      ++depth;
    }
  }
  return true;
}

class Unpacker {
 public:
  Unpacker(struct archive* archive, int root) : archive_(archive), root_(root) {}

  void run() {
    struct archive_entry* entry = nullptr;
    while (next(entry)) {
      if (++entries_ > limits::kTarballEntries) {
        throw Error(ErrorCode::kUnsupported,
                    "it has more than " + std::to_string(limits::kTarballEntries) + " entries");
      }
      unpack(entry);
    }
    set_directory_times();
  }

 private:
  [[nodiscard]] Error archive_error() const {
    const char* text = ::archive_error_string(archive_);
    return {ErrorCode::kCorrupt, text != nullptr ? text : "the archive is damaged"};
  }

  bool next(struct archive_entry*& entry) {
    const int result = ::archive_read_next_header(archive_, &entry);
    if (result == ARCHIVE_EOF) {
      return false;
    }
    if (result != ARCHIVE_OK && result != ARCHIVE_WARN) {
      throw archive_error();
    }
    return true;
  }

  void unpack(struct archive_entry* entry) {
    const char* raw = ::archive_entry_pathname(entry);
    if (raw == nullptr) {
      throw Error(ErrorCode::kCorrupt, "an entry has no readable name");
    }
    const std::string name = raw;
    const auto components = components_of(name);
    const char* hard_link = ::archive_entry_hardlink(entry);
    const auto type = ::archive_entry_filetype(entry);
    const std::int64_t modified = ::archive_entry_mtime_is_set(entry) != 0 ? ::archive_entry_mtime(entry) : 0;
    if (components.empty()) {
      if (type != AE_IFDIR) {
        refuse(name, "has no name");
      }
      return;
    }
    const std::vector<std::string> parents(components.begin(), components.end() - 1);
    if (type == AE_IFDIR && hard_link == nullptr) {
      (void)open_directory(name, components);
      directory_times_[joined(components)] = modified;
      return;
    }
    const UniqueFd parent = open_directory(name, parents);
    const std::string& last = components.back();
    if (::unlinkat(parent.get(), last.c_str(), 0) != 0 && errno != ENOENT) {  // a later entry replaces an earlier one
      fail_errno(name, errno);
    }
    if (hard_link != nullptr) {
      make_hard_link(name, hard_link, parent.get(), last);
    } else if (type == AE_IFREG) {
      write_file(name, parent.get(), last, modified);
    } else if (type == AE_IFLNK) {
      make_symlink(entry, name, parents.size(), parent.get(), last, modified);
    } else {
      refuse(name, "is a device, FIFO or socket");
    }
  }

  static std::string joined(const std::vector<std::string>& components) {
    std::string path;
    for (const auto& component : components) {
      path += (path.empty() ? "" : "/") + component;
    }
    return path;
  }

  /// Opens a directory below the root, making what is missing; never through a link.
  UniqueFd open_directory(const std::string& entry, const std::vector<std::string>& components, bool make = true) {
    constexpr int kFlags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    UniqueFd fd(::openat(root_, ".", kFlags));
    std::string path;
    for (const auto& component : components) {
      path += (path.empty() ? "" : "/") + component;
      if (make && ::mkdirat(fd.get(), component.c_str(), 0700) == 0) {
        directory_times_.emplace(path, 0);
      } else if (make && errno != EEXIST) {
        fail_errno(entry, errno);
      }
      UniqueFd next(::openat(fd.get(), component.c_str(), kFlags));
      if (!next) {
        if (errno == ENOTDIR || errno == ELOOP) {
          refuse(entry, "passes through \"" + path + "\", which is no directory");
        }
        fail_errno(entry, errno);
      }
      fd = std::move(next);
    }
    if (!fd) {
      fail_errno(entry, errno);
    }
    return fd;
  }

  void write_file(const std::string& name, int parent, const std::string& last, std::int64_t modified) {
    const UniqueFd fd(::openat(parent, last.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (!fd) {
      fail_errno(name, errno);
    }
    std::int64_t end = 0;
    while (true) {
      const void* data = nullptr;
      std::size_t length = 0;
      la_int64_t offset = 0;
      const int result = ::archive_read_data_block(archive_, &data, &length, &offset);
      if (result == ARCHIVE_EOF) {
        break;
      }
      if (result != ARCHIVE_OK && result != ARCHIVE_WARN) {
        throw archive_error().context("the entry \"" + name + "\"");
      }
      // Holes count: packing writes them out.
      const auto limit = static_cast<std::int64_t>(limits::kTarballBytes);
      if (offset < end || offset > limit || static_cast<std::int64_t>(length) > limit - offset) {
        too_large();
      }
      const std::int64_t new_end = offset + static_cast<std::int64_t>(length);
      count_bytes(new_end - end);
      end = new_end;
      write_at(name, fd.get(), {static_cast<const char*>(data), length}, offset);
    }
    const timespec times[2] = {{.tv_sec = modified, .tv_nsec = 0}, {.tv_sec = modified, .tv_nsec = 0}};
    if (::futimens(fd.get(), times) != 0) {
      fail_errno(name, errno);
    }
  }

  void write_at(const std::string& name, int fd, std::string_view data, std::int64_t offset) {
    while (!data.empty()) {
      const auto written = ::pwrite(fd, data.data(), data.size(), offset);
      if (written < 0 && errno != EINTR) {
        fail_errno(name, errno);
      }
      const auto count = static_cast<std::size_t>(std::max<::ssize_t>(written, 0));
      data.remove_prefix(count);
      offset += static_cast<std::int64_t>(count);
    }
  }

  void make_symlink(struct archive_entry* entry, const std::string& name, std::size_t depth, int parent,
                    const std::string& last, std::int64_t modified) {
    const char* target = ::archive_entry_symlink(entry);
    if (target == nullptr || *target == '\0') {
      refuse(name, "is a link without a target");
    }
    if (!stays_inside(target, depth)) {
      refuse(name, "is a link that leads out of the archive, to \"" + std::string(target) + "\"");
    }
    count_bytes(static_cast<std::int64_t>(std::string_view(target).size()));
    if (::symlinkat(target, parent, last.c_str()) != 0) {
      fail_errno(name, errno);
    }
    const timespec times[2] = {{.tv_sec = modified, .tv_nsec = 0}, {.tv_sec = modified, .tv_nsec = 0}};
    (void)::utimensat(parent, last.c_str(), times, AT_SYMLINK_NOFOLLOW);
  }

  void make_hard_link(const std::string& name, const std::string& target, int parent, const std::string& last) {
    auto components = components_of(target);
    if (components.empty()) {
      refuse(name, "is a hard link to nothing");
    }
    const std::string target_name = components.back();
    components.pop_back();
    const UniqueFd source = open_directory(name, components, false);
    struct stat status{};
    if (::fstatat(source.get(), target_name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) {
      fail_errno(name, errno);
    }
    if (!S_ISREG(status.st_mode)) {
      refuse(name, "is a hard link to \"" + target + "\", which is no file");
    }
    count_bytes(status.st_size);  // it becomes a file of its own
    if (::linkat(source.get(), target_name.c_str(), parent, last.c_str(), 0) != 0) {
      fail_errno(name, errno);
    }
  }

  void count_bytes(std::int64_t count) {
    bytes_ += static_cast<std::uint64_t>(count);
    if (bytes_ > limits::kTarballBytes) {
      too_large();
    }
  }

  [[noreturn]] static void too_large() {
    throw Error(ErrorCode::kUnsupported,
                "it holds more than " + std::to_string(limits::kTarballBytes) + " bytes when unpacked");
  }

  /// After everything else: making an entry changes its directory's time. Unlike the reference, which leaves the time
  /// of unpacking, so that one archive shows the same tree each time.
  void set_directory_times() {
    for (const auto& [path, modified] : directory_times_) {
      const timespec times[2] = {{.tv_sec = modified, .tv_nsec = 0}, {.tv_sec = modified, .tv_nsec = 0}};
      (void)::utimensat(root_, path.c_str(), times, AT_SYMLINK_NOFOLLOW);
    }
  }

  struct archive* archive_;
  int root_;
  std::size_t entries_ = 0;
  std::uint64_t bytes_ = 0;
  std::map<std::string, std::int64_t> directory_times_;
};

}  // namespace

void unpack_tarball(const ByteSource& archive, int directory) {
  const Utf8Locale locale;
  const ReadArchive reader;
  if (reader.handle == nullptr || ::archive_read_support_filter_gzip(reader.handle) != ARCHIVE_OK ||
      ::archive_read_support_format_tar(reader.handle) != ARCHIVE_OK) {
    throw Error(ErrorCode::kInternal, "libarchive can't read gzip'd tar archives");
  }
  const auto bytes = archive.bytes();
  if (::archive_read_open_memory(reader.handle, bytes.data(), bytes.size()) != ARCHIVE_OK) {
    const char* text = ::archive_error_string(reader.handle);
    throw Error(ErrorCode::kCorrupt, text != nullptr ? text : "the archive is damaged");
  }
  Unpacker(reader.handle, directory).run();
  if (archive.damaged()) {
    throw system_error("\"" + archive.name() + "\"", EIO);
  }
}

}  // namespace pkgfs
