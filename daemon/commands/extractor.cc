// SPDX-License-Identifier: MIT
#include "daemon/commands/extractor.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <optional>
#include <utility>

#include "core/vfs/read_file.h"

namespace pkgfs {

namespace {

constexpr int kDirectoryFlags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;

std::array<timespec, 2> times_of(const vfs::Attributes& attributes) {
  const timespec time{attributes.modified, static_cast<long>(attributes.modified_ns)};
  return {time, time};
}

/// 0 or an errno number.
int write_all(int fd, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno != EINTR) {
      return errno;
    }
    bytes = bytes.subspan(written < 0 ? 0 : static_cast<std::size_t>(written));
  }
  return 0;
}

/// Removes a temporary name unless it was renamed.
class TemporaryName {
 public:
  TemporaryName(int directory, std::string name) : directory_(directory), name_(std::move(name)) {}
  ~TemporaryName() {
    if (!name_.empty()) {
      ::unlinkat(directory_, name_.c_str(), 0);
    }
  }
  TemporaryName(const TemporaryName&) = delete;
  TemporaryName& operator=(const TemporaryName&) = delete;
  [[nodiscard]] const std::string& name() const { return name_; }
  void keep() { name_.clear(); }

 private:
  int directory_;
  std::string name_;
};

}  // namespace

Extractor::Extractor(vfs::FileSystem& fs, UniqueFd directory, std::string name, const CancelFlag& cancel,
                     std::ostream& err)
    : fs_(fs),
      here_(std::move(directory)),
      name_(std::move(name)),
      cancel_(cancel),
      damage_(err),
      unnamed_files_(::access("/proc/self/fd", X_OK) == 0) {}  // the way to name them

void Extractor::run(bool made) {
  made_ = made;
  visit_tree(fs_, fs_.root(), *this);
}

void Extractor::throw_error(std::string_view path, int error) const {
  throw system_error("Unable to write \"" + name_ + std::string(path) + "\"", error);
}

void Extractor::check_cancelled() const {
  if (cancel_.is_cancelled()) {
    throw Error(ErrorCode::kInterrupted, "Writing \"" + name_ + "\" was interrupted");
  }
}

bool Extractor::visit(const vfs::WalkStep& step) {
  check_cancelled();
  if (step.error != 0) {
    damage_.report(step.path, step.error);
    return false;
  }
  switch (step.attributes.type) {
    case vfs::FileType::kDirectory:
      enter(step);
      return true;
    case vfs::FileType::kFile:
      write_file(step);
      return false;
    case vfs::FileType::kSymlink:
      write_link(step);
      return false;
  }
  return false;
}

void Extractor::enter(const vfs::WalkStep& step) {
  const std::string name(step.name);
  if (::mkdirat(here_.get(), name.c_str(), 0700) != 0 && errno != EEXIST) {
    throw_error(step.path, errno);
  }
  UniqueFd child(::openat(here_.get(), name.c_str(), kDirectoryFlags));
  struct stat status{};
  if (!child || ::fstat(here_.get(), &status) != 0) {
    throw_error(step.path, errno);  // ENOTDIR or ELOOP: something else is in the way
  }
  way_.push_back({status.st_dev, status.st_ino});
  here_ = std::move(child);
  ++entries_;
}

void Extractor::leave(const vfs::WalkStep& step) {
  if (step.error != 0) {
    damage_.report(step.path.empty() ? "/" : step.path, step.error);
  }
  if (way_.empty()) {
    const auto root = fs_.metadata(fs_.root());
    if (root) {
      finish_directory(here_.get(), *root, made_, "");
    }
    return;
  }
  // Coming back by ".." keeps one descriptor open, however deep the tree is. Somebody may have moved the directory.
  UniqueFd parent(::openat(here_.get(), "..", kDirectoryFlags));
  struct stat status{};
  if (!parent || ::fstat(parent.get(), &status) != 0) {
    throw_error(step.path, errno);
  }
  if (status.st_dev != way_.back().device || status.st_ino != way_.back().inode) {
    throw Error(ErrorCode::kIo, "\"" + name_ + std::string(step.path) + "\" was moved while it was written");
  }
  way_.pop_back();
  finish_directory(here_.get(), step.attributes, true, step.path);
  here_ = std::move(parent);
}

void Extractor::finish_directory(int fd, const vfs::Attributes& attributes, bool with_mode, std::string_view path) {
  if ((with_mode && ::fchmod(fd, attributes.mode) != 0) || ::futimens(fd, times_of(attributes).data()) != 0) {
    throw_error(path, errno);
  }
}

template <typename Make>
std::string Extractor::make_temporary(const vfs::WalkStep& step, Make make) {
  constexpr int kTries = 100;
  for (int i = 0; i < kTries; ++i) {
    std::string name = ".pkgfs-" + std::to_string(::getpid()) + "-" + std::to_string(counter_++);
    const int error = make(name);
    if (error == 0) {
      return name;
    }
    if (error != EEXIST) {
      throw_error(step.path, error);
    }
  }
  throw_error(step.path, EEXIST);
}

void Extractor::publish(const vfs::WalkStep& step, const std::string& temporary) {
  const std::string name(step.name);
  if (::renameat(here_.get(), temporary.c_str(), here_.get(), name.c_str()) != 0) {
    throw_error(step.path, errno);
  }
  ++entries_;
}

UniqueFd Extractor::open_unnamed() {
  UniqueFd file;
  if (unnamed_files_) {
    file.reset(::openat(here_.get(), ".", O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600));
    unnamed_files_ = static_cast<bool>(file);
  }
  return file;
}

void Extractor::publish_unnamed(const vfs::WalkStep& step, int file) {
  const std::string source = "/proc/self/fd/" + std::to_string(file);
  const auto link = [&](const std::string& name) {
    return ::linkat(AT_FDCWD, source.c_str(), here_.get(), name.c_str(), AT_SYMLINK_FOLLOW) == 0 ? 0 : errno;
  };
  const int error = link(std::string(step.name));
  if (error == 0) {
    ++entries_;
    return;
  }
  if (error != EEXIST) {
    throw_error(step.path, error);
  }
  TemporaryName temporary(here_.get(), make_temporary(step, link));
  publish(step, temporary.name());
  temporary.keep();
}

void Extractor::write_file(const vfs::WalkStep& step) {
  UniqueFd file = open_unnamed();
  std::optional<TemporaryName> temporary;
  if (!file) {
    temporary.emplace(
        here_.get(), make_temporary(step, [&](const std::string& name) {
          file.reset(::openat(here_.get(), name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
          return file ? 0 : errno;
        }));
  }
  int failed = 0;
  std::uint64_t length = 0;
  const Result<void> copied = read_file(fs_, step.inode, [&](std::span<const std::byte> bytes) {
    check_cancelled();
    failed = write_all(file.get(), bytes);
    length += bytes.size();
    return failed == 0;
  });
  if (failed != 0) {
    throw_error(step.path, failed);
  }
  if (!copied) {
    damage_.report(step.path, copied.error());
    return;
  }
  if (::fchmod(file.get(), step.attributes.mode) != 0 ||
      ::futimens(file.get(), times_of(step.attributes).data()) != 0) {
    throw_error(step.path, errno);
  }
  if (!temporary) {
    publish_unnamed(step, file.get());
  }
  if (::close(file.release()) != 0) {  // where network file systems and quotas report
    throw_error(step.path, errno);
  }
  if (temporary) {
    publish(step, temporary->name());
    temporary->keep();
  }
  bytes_ += length;
}

void Extractor::write_link(const vfs::WalkStep& step) {
  const Result<std::string_view> target = fs_.read_link(step.inode);
  if (!target) {
    damage_.report(step.path, target.error());
    return;
  }
  const std::string text(*target);
  TemporaryName temporary(here_.get(), make_temporary(step, [&](const std::string& name) {
                            return ::symlinkat(text.c_str(), here_.get(), name.c_str()) == 0 ? 0 : errno;
                          }));
  if (::utimensat(here_.get(), temporary.name().c_str(), times_of(step.attributes).data(), AT_SYMLINK_NOFOLLOW) != 0) {
    throw_error(step.path, errno);
  }
  publish(step, temporary.name());
  temporary.keep();
}

}  // namespace pkgfs
