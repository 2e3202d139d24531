// SPDX-License-Identifier: MIT
#include "core/vfs/host_file_system.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "core/base/limits.h"
#include "core/vfs/host_status.h"
#include "core/vfs/host_watcher.h"
#include "core/vfs/path_text.h"

namespace pkgfs::vfs {
namespace {

std::uint64_t device_of(const UniqueFd& fd) {
  struct stat status{};
  return ::fstat(fd.get(), &status) == 0 ? status.st_dev : 0;
}

struct CloseStream {
  void operator()(DIR* stream) const { ::closedir(stream); }
};
using Stream = std::unique_ptr<DIR, CloseStream>;

class HostFile final : public OpenFile {
 public:
  HostFile(UniqueFd fd, const HostNumbers& numbers, const Attributes& at_open)
      : fd_(std::move(fd)), numbers_(numbers), at_open_(at_open) {}

  [[nodiscard]] Result<std::size_t> read(std::uint64_t offset, std::span<std::byte> out) override {
    std::size_t done = 0;
    while (done < out.size()) {
      const ssize_t count = ::pread(fd_.get(), out.data() + done, out.size() - done, static_cast<off_t>(offset + done));
      if (count < 0 && errno == EINTR) {
        continue;
      }
      if (count < 0) {
        return fail(errno);
      }
      if (count == 0) {
        break;
      }
      done += static_cast<std::size_t>(count);
    }
    return done;
  }

  [[nodiscard]] int descriptor() const override { return fd_.get(); }

  [[nodiscard]] Result<Attributes> attributes() const override {
    const Result<struct statx> status = status_of(fd_);
    if (!status) {
      return fail(status.error());
    }
    const std::optional<Attributes> attributes = to_attributes(numbers_, *status);
    return attributes ? Result<Attributes>(*attributes) : fail(ENOENT);
  }

  [[nodiscard]] Result<Attributes> attributes_at_open() const override { return at_open_; }

 private:
  UniqueFd fd_;
  HostNumbers numbers_;
  Attributes at_open_;
};

}  // namespace

/// A host path that was looked up. Its ancestors live as long as it does.
struct HostFileSystem::Node {
  Node* parent = nullptr;
  std::string name;
  std::atomic<std::uint64_t> references{1};  // of lookups and of children
  std::string link;                          // the text, once read
  // Of a regular file; number 0: it is none, or the root.
  std::uint64_t number = 0;
  std::uint64_t generation = 0;

  /// Whether the path of this node still leads to what was looked up. A directory is its path.
  [[nodiscard]] bool is_same(const UniqueFd& fd, const struct statx& status, const Attributes& attributes) const {
    return number == 0 || (attributes.type == FileType::kFile && attributes.number == number &&
                           generation_of(fd, status) == generation);
  }

  [[nodiscard]] std::string path() const {
    std::string text;
    for (const Node* here = this; here->parent != nullptr; here = here->parent) {
      text.insert(0, text.empty() ? here->name : here->name + "/");
    }
    return text;
  }
};

namespace {

template <typename Node>
Node& to_node(Inode inode) {
  return *reinterpret_cast<Node*>(inode);  // NOLINT(performance-no-int-to-ptr)
}

}  // namespace

HostFileSystem::HostFileSystem(UniqueFd root, std::string name, std::shared_ptr<const HostFilter> filter,
                               std::shared_ptr<const HostWay> way)
    : device_(device_of(root)),
      numbers_{device_, 0},
      root_(new Node),
      shown_(std::make_shared<HostRoot>(std::move(root), std::move(name), std::move(filter), std::move(way))) {}

HostFileSystem::~HostFileSystem() { delete root_; }

Inode HostFileSystem::root() const { return reinterpret_cast<Inode>(root_); }

Result<UniqueFd> HostFileSystem::open_path(const Node& node, int flags) {
  node.parent == nullptr ? shown_->follow_if_old() : shown_->follow();
  if (node.parent != nullptr && shown_->is_missing()) {
    return fail(ENOENT);
  }
  struct stat status{};
  if (node.parent == nullptr && ::fstat(shown_->fd(), &status) == 0 && S_ISREG(status.st_mode)) {
    const int copy = ::fcntl(shown_->fd(), F_DUPFD_CLOEXEC, 3);
    return copy >= 0 ? Result<UniqueFd>(UniqueFd(copy)) : fail(errno);
  }
  const std::string path = node.path();
  open_how how{};
  how.flags = static_cast<std::uint64_t>(flags | O_CLOEXEC | O_NOFOLLOW);
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV;
  const long fd = ::syscall(SYS_openat2, shown_->fd(), path.empty() ? "." : path.c_str(), &how, sizeof(how));
  if (fd < 0) {
    // A directory on the path was replaced by a link, or is a mount point now: the entry is gone.
    return fail(errno == ELOOP || errno == EXDEV ? ENOENT : errno);
  }
  return UniqueFd(static_cast<int>(fd));
}

Result<Entry> HostFileSystem::lookup(Inode dir, std::string_view name) {
  if (name.size() > limits::kNameBytes) {
    return fail(ENAMETOOLONG);
  }
  if (name.empty() || name == "." || name == ".." || name.find('/') != std::string_view::npos) {
    return fail(ENOENT);
  }
  Node& parent = to_node<Node>(dir);
  auto child = std::make_unique<Node>();
  child->parent = &parent;
  child->name = name;
  Result<UniqueFd> fd = open_path(*child, O_PATH);
  if (!fd && fd.error() == ENOENT && &parent == root_ && shown_->follow_if_removed()) {
    fd = open_path(*child, O_PATH);
  }
  if (!fd) {
    return fail(fd.error());
  }
  const Result<struct statx> status = status_of(*fd);
  if (!status) {
    return fail(status.error());
  }
  const std::optional<Attributes> attributes = to_attributes(numbers_, *status);
  if (!attributes || shown_->hides(child->path(), attributes->type)) {
    return fail(ENOENT);
  }
  if (attributes->type == FileType::kSymlink) {
    std::string text(limits::kLinkBytes + 1, '\0');
    const ssize_t length = ::readlinkat(fd->get(), "", text.data(), text.size());
    if (length < 0) {
      return fail(errno);
    }
    text.resize(static_cast<std::size_t>(length));
    child->link = std::move(text);
  }
  if (attributes->type == FileType::kFile) {
    child->number = attributes->number;
    child->generation = generation_of(*fd, *status);
  }
  parent.references.fetch_add(1, std::memory_order_relaxed);
  const std::uint64_t generation = child->generation;
  return Entry{reinterpret_cast<Inode>(child.release()), *attributes, generation};
}

Result<Attributes> HostFileSystem::metadata(Inode inode) {
  const Node& node = to_node<Node>(inode);
  const Result<UniqueFd> fd = open_path(node, O_PATH);
  if (!fd) {
    return fail(fd.error());
  }
  const Result<struct statx> status = status_of(*fd);
  if (!status) {
    return fail(status.error());
  }
  if (&node == root_ && status->stx_nlink == 0 && shown_->follow_if_removed()) {
    return metadata(inode);
  }
  std::optional<Attributes> attributes = to_attributes(numbers_, *status);
  if (!attributes) {
    return fail(ENOENT);
  }
  if (&node == root_ && shown_->is_missing()) {
    attributes->recent = true;  // it may be there again at any moment
  }
  return node.is_same(*fd, *status, *attributes) ? Result<Attributes>(*attributes) : fail(ESTALE);
}

Result<void> HostFileSystem::read_dir(Inode dir, std::uint64_t from, FunctionRef<bool(const DirEntry&)> visit) {
  const Node& node = to_node<Node>(dir);
  Result<UniqueFd> fd = open_path(node, O_RDONLY | O_DIRECTORY);
  if (&node == root_ && shown_->is_missing()) {
    return {};
  }
  if (!fd) {
    return fail(fd.error());
  }
  struct Item {
    std::string name;
    int error;
    Attributes attributes;
  };
  std::vector<Item> items;
  const Stream stream(::fdopendir(fd->get()));
  if (!stream) {
    return fail(errno);
  }
  const int dir_fd = fd->release();  // owned by the stream
  const std::string path = node.path();
  while (true) {
    errno = 0;
    // readdir is thread-safe for streams of one thread, whatever the check says.
    const dirent* found = ::readdir(stream.get());  // NOLINT(concurrency-mt-unsafe)
    if (found == nullptr) {
      if (errno != 0) {
        return fail(errno);  // a caller would take half a listing for a whole one
      }
      break;
    }
    const std::string_view name = static_cast<const char*>(found->d_name);
    if (name == "." || name == "..") {
      continue;
    }
    const Result<struct statx> status = status_in(dir_fd, found->d_name);
    if (status ? (status->stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0 : status.error() == ENOENT) {
      continue;
    }
    const std::optional<Attributes> attributes = status ? to_attributes(numbers_, *status) : Attributes{};
    if (!attributes || shown_->hides(path.empty() ? std::string(name) : join_path(path, name), attributes->type)) {
      continue;
    }
    items.push_back({std::string(name), status ? 0 : status.error(), *attributes});
  }
  std::sort(items.begin(), items.end(), [](const Item& a, const Item& b) { return a.name < b.name; });
  for (std::size_t i = from; i < items.size(); ++i) {
    if (!visit({.name = items[i].name,
                .inode = 0,
                .error = items[i].error,
                .next = i + 1,
                .attributes = items[i].attributes})) {
      break;
    }
  }
  return {};
}

Result<std::string_view> HostFileSystem::read_link(Inode inode) {
  const Node& node = to_node<Node>(inode);
  return node.link.empty() ? fail(EINVAL) : Result<std::string_view>(node.link);
}

Result<std::unique_ptr<OpenFile>> HostFileSystem::open(Inode inode) {
  const Node& node = to_node<Node>(inode);
  Result<UniqueFd> fd = open_path(node, O_RDONLY | O_NONBLOCK | O_NOCTTY);
  if (!fd) {
    return fail(fd.error());
  }
  const Result<struct statx> status = status_of(*fd);
  if (!status) {
    return fail(status.error());
  }
  const std::optional<Attributes> attributes = to_attributes(numbers_, *status);
  if (!attributes || attributes->type != FileType::kFile) {
    return fail(S_ISDIR(status->stx_mode) ? EISDIR : EINVAL);
  }
  if (!node.is_same(*fd, *status, *attributes)) {
    return fail(ESTALE);
  }
  return std::make_unique<HostFile>(std::move(*fd), numbers_, *attributes);
}

bool HostFileSystem::watch(Inode dir, HostWatcher& watcher, std::uint64_t watch) {
  const Node& node = to_node<Node>(dir);
  if (&node == root_) {
    shown_->watch(watcher, watch);
    if (shown_->is_missing()) {
      return true;  // the watcher reports when there is one again
    }
  }
  const Result<UniqueFd> fd = open_path(node, O_PATH | O_DIRECTORY);
  return fd && watcher.add(fd->get(), watch) == HostWatcher::Added::kYes;
}

void HostFileSystem::forget(Inode inode, std::uint64_t count) {
  if (inode != root()) {
    drop(&to_node<Node>(inode), count);
  }
}

void HostFileSystem::drop(Node* node, std::uint64_t count) {
  while (node != root_ && node->references.fetch_sub(count, std::memory_order_acq_rel) == count) {
    Node* const parent = node->parent;
    delete node;
    node = parent;
    count = 1;
  }
}

Result<Origin> HostFileSystem::origin(Inode /*inode*/) { return Origin{}; }

}  // namespace pkgfs::vfs
