// SPDX-License-Identifier: MIT
#include "daemon/commands/extractor.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
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

}  // namespace

Extractor::Extractor(vfs::FileSystem& fs, UniqueFd directory, Options options, const CancelFlag& cancel,
                     std::ostream& err)
    : fs_(fs), here_(std::move(directory)), options_(std::move(options)), cancel_(cancel), damage_(err) {}

void Extractor::run() { visit_tree(fs_, fs_.root(), *this); }

void Extractor::throw_error(std::string_view path, int error) const {
  throw system_error("Unable to write \"" + options_.name + std::string(path) + "\"", error);
}

void Extractor::check_cancelled() const {
  if (cancel_.is_cancelled()) {
    throw Error(ErrorCode::kInterrupted, "Writing \"" + options_.name + "\" was interrupted");
  }
}

void Extractor::report(std::string_view path, int error) {
  if (!options_.keep_going) {
    throw entry_error(path, error)
        .context("Nothing was written to \"" + options_.name + "\" (--keep-going writes what can be read)");
  }
  damage_.report(path, error);
}

bool Extractor::visit(const vfs::WalkStep& step) {
  check_cancelled();
  if (step.error != 0) {
    report(step.path, step.error);
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
  if (::mkdirat(here_.get(), name.c_str(), 0700) != 0) {
    throw_error(step.path, errno);
  }
  UniqueFd child(::openat(here_.get(), name.c_str(), kDirectoryFlags));
  struct stat status{};
  if (!child || ::fstat(here_.get(), &status) != 0) {
    throw_error(step.path, errno);
  }
  way_.push_back({status.st_dev, status.st_ino});
  here_ = std::move(child);
  ++entries_;
}

void Extractor::leave(const vfs::WalkStep& step) {
  if (step.error != 0) {
    report(step.path.empty() ? "/" : step.path, step.error);
  }
  if (way_.empty()) {
    const auto root = fs_.metadata(fs_.root());
    if (root) {
      finish_directory(here_.get(), *root, "");
    }
    return;
  }
  // Going up by ".." needs one descriptor, however deep the tree is. Another process may have moved the directory.
  UniqueFd parent(::openat(here_.get(), "..", kDirectoryFlags));
  struct stat status{};
  if (!parent || ::fstat(parent.get(), &status) != 0) {
    throw_error(step.path, errno);
  }
  if (status.st_dev != way_.back().device || status.st_ino != way_.back().inode) {
    throw Error(ErrorCode::kIo, "\"" + options_.name + std::string(step.path) + "\" was moved while it was written");
  }
  way_.pop_back();
  finish_directory(here_.get(), step.attributes, step.path);
  here_ = std::move(parent);
}

void Extractor::finish_directory(int fd, const vfs::Attributes& attributes, std::string_view path) {
  if (::fchmod(fd, attributes.mode) != 0 || ::futimens(fd, times_of(attributes).data()) != 0) {
    throw_error(path, errno);
  }
}

void Extractor::write_file(const vfs::WalkStep& step) {
  const std::string name(step.name);
  UniqueFd file(::openat(here_.get(), name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!file) {
    throw_error(step.path, errno);  // EEXIST: the file system takes two names for one, such as "a" and "A"
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
    ::unlinkat(here_.get(), name.c_str(), 0);
    report(step.path, copied.error());
    return;
  }
  const Result<vfs::Attributes> shown =
      step.attributes.may_be_program ? fs_.metadata(step.inode) : Result<vfs::Attributes>(step.attributes);
  if (!shown) {
    ::unlinkat(here_.get(), name.c_str(), 0);
    report(step.path, shown.error());
    return;
  }
  if (::fchmod(file.get(), shown->mode) != 0 || ::futimens(file.get(), times_of(step.attributes).data()) != 0) {
    throw_error(step.path, errno);
  }
  if (::close(file.release()) != 0) {  // network file systems and quotas report errors here
    throw_error(step.path, errno);
  }
  ++entries_;
  bytes_ += length;
}

void Extractor::write_link(const vfs::WalkStep& step) {
  const Result<std::string_view> target = fs_.read_link(step.inode);
  if (!target) {
    report(step.path, target.error());
    return;
  }
  const std::string name(step.name);
  if (::symlinkat(std::string(*target).c_str(), here_.get(), name.c_str()) != 0 ||
      ::utimensat(here_.get(), name.c_str(), times_of(step.attributes).data(), AT_SYMLINK_NOFOLLOW) != 0) {
    throw_error(step.path, errno);
  }
  ++entries_;
}

}  // namespace pkgfs
