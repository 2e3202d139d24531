// SPDX-License-Identifier: MIT
#include "core/vfs/large_directory.h"

#include <algorithm>
#include <cerrno>
#include <new>
#include <utility>

#include "core/vfs/executables.h"

namespace pkgfs::vfs {

void show_entry(OverlayNode& node, const Layer& layer, std::uint32_t index, const OverlayPath* directory,
                std::string_view name, const Candidate& candidate) {
  const Attributes& from = candidate.entry.attributes;
  node.name = name.data();
  node.name_length = static_cast<std::uint8_t>(name.size());
  node.inode = candidate.entry.inode;
  node.layer = index;
  node.error = candidate.error;
  node.type = from.type;
  node.mode = from.mode;
  node.size = from.size;
  node.modified = from.modified;
  node.modified_ns = from.modified_ns;
  node.synthetic = from.synthetic;
  node.mount_ancestor = from.mount_ancestor;
  node.may_be_program =
      from.may_be_program && directory != nullptr && is_program_name(*directory, name) && from.size >= kProgramBytes;
  node.number = layer.number_base + from.number;
  if (node.error == 0 && node.type == FileType::kSymlink) {
    const Result<std::string_view> text = layer.fs->read_link(node.inode);
    node.error = text ? 0 : text.error();
    node.link = text ? text->data() : nullptr;
    node.size = text ? text->size() : 0;
  }
}

std::size_t LargeDirectory::bytes() const {
  return sizeof(*this) + runs_.capacity() * sizeof(Run) + nodes_.size() * sizeof(OverlayNode) +
         parts_.capacity() * sizeof(OverlayPart);
}

void LargeDirectory::start_run(std::uint32_t part, std::string_view name, std::uint64_t position) {
  runs_.push_back({.position = position,
                   .name = name.data(),
                   .first = static_cast<std::uint32_t>(count_),
                   .part = part & kOwnNode,
                   .name_length = static_cast<std::uint8_t>(name.size())});
}

void LargeDirectory::add(std::size_t part, std::string_view name, std::uint64_t position, std::uint64_t next) {
  const auto index = static_cast<std::uint32_t>(part);
  const bool follows =
      !runs_.empty() && runs_.back().part == index && position == next_ && count_ - runs_.back().first < kMostInRun;
  if (!follows) {
    start_run(index, name, position);
  }
  next_ = next;
  ++count_;
}

void LargeDirectory::add(const OverlayNode& node) {
  start_run(kOwnNode, node.name_view(), nodes_.size());
  nodes_.push_back(node);
  ++count_;
}

void LargeDirectory::finish(const OverlayContent& holder) {
  holder_ = &holder;
  runs_.shrink_to_fit();
  for (OverlayNode& node : nodes_) {
    node.holder = &holder;
  }
}

int LargeDirectory::visit_run(const Run& run, std::size_t end,
                              FunctionRef<bool(std::size_t index, const OverlayNode&)> visit) const {
  if (run.part == kOwnNode) {
    (void)visit(run.first, nodes_[run.position]);
    return 0;
  }
  const OverlayPart& part = parts_[run.part];
  const Layer& layer = layers_[part.layer];
  std::size_t index = run.first;
  bool stopped = false;
  const auto show = [&](std::uint64_t /*position*/, const DirEntry& entry) {
    OverlayNode node;
    show_entry(node, layer, part.layer, holder_->path.get(), entry.name,
               {part.layer, entry.error, {entry.inode, entry.attributes}});
    node.holder = holder_;
    stopped = !visit(index++, node);
    return !stopped && index < end;
  };
  if (const Result<void> listed = layer.fs->list_stored(part.inode, run.position, show); !listed) {
    return listed.error();
  }
  return stopped || index == end ? 0 : EIO;  // the file has changed: it had more entries
}

int LargeDirectory::visit(std::size_t index, FunctionRef<bool(std::size_t index, const OverlayNode&)> visit) const {
  if (index >= count_) {
    return 0;
  }
  bool stopped = false;
  const auto wanted = [&](std::size_t at, const OverlayNode& node) {
    stopped = at >= index && !visit(at, node);
    return !stopped;
  };
  int error = 0;
  for (auto run = std::prev(std::ranges::upper_bound(runs_, index, {}, &Run::first));
       error == 0 && !stopped && run != runs_.end(); ++run) {
    const auto next = std::next(run);
    error = visit_run(*run, next == runs_.end() ? count_ : next->first, wanted);
  }
  return error;
}

const OverlayNode& LargeDirectory::at(std::size_t index, OverlayRoom& room) const {
  const int error = visit(index, [&](std::size_t /*index*/, const OverlayNode& node) {
    new (&room.node) OverlayNode(node);
    return false;
  });
  return error == 0 ? room.node : room.failed(error, holder_);
}

const OverlayNode* LargeDirectory::find(std::string_view name, std::size_t& index, OverlayRoom& room) const {
  const auto behind = std::ranges::upper_bound(runs_, name, {}, &Run::name_view);
  if (behind == runs_.begin()) {
    return nullptr;
  }
  const OverlayNode* found = nullptr;
  const int error = visit(std::prev(behind)->first, [&](std::size_t at, const OverlayNode& node) {
    if (node.name_view() == name) {
      index = at;
      found = new (&room.node) OverlayNode(node);
    }
    return node.name_view() < name;
  });
  return error == 0 ? found : &room.failed(error, holder_);  // EIO, and not ENOENT, which the kernel would keep
}

SortedPart::SortedPart(FileSystem& fs, const OverlayPart& part) : fs_(fs), inode_(part.inode) {
  bool sorted = true;
  std::string_view last;
  const auto look = [&](std::uint64_t /*position*/, const DirEntry& entry) {
    sorted = sorted && (count_ == 0 || last < entry.name);
    last = entry.name;
    ++count_;
    return true;
  };
  Result<void> listed = fs_.list_stored(inode_, 0, look);
  if (listed && !sorted) {
    order_.reserve(count_);
    listed = fs_.list_stored(inode_, 0, [&](std::uint64_t position, const DirEntry& entry) {
      order_.push_back({entry.name, position});
      return true;
    });
    std::ranges::sort(order_, {}, &Name::name);
  }
  error_ = listed ? 0 : listed.error();
  if (error_ == 0 && count_ != 0) {
    if (order_.empty()) {
      buffer_.reserve(std::min(count_, kBuffered));
      fill(0, kBuffered);
    } else {
      advance();
    }
  }
}

void SortedPart::fill(std::uint64_t position, std::size_t most) {
  const std::string_view last = buffer_.empty() ? std::string_view() : buffer_.back().entry.name;
  buffer_.clear();
  at_ = 0;
  const Result<void> listed = fs_.list_stored(inode_, position, [&](std::uint64_t at, const DirEntry& entry) {
    // A listing that begins here doesn't know that a name stood before.
    if (!order_.empty() || entry.name > last) {
      buffer_.push_back({at, entry});
    }
    return buffer_.size() < most;
  });
  error_ = listed ? 0 : listed.error();
}

void SortedPart::advance() {
  if (!order_.empty()) {
    if (next_name_ == order_.size()) {
      buffer_.clear();
      at_ = 0;
    } else {
      fill(order_[next_name_++].position, 1);
    }
  } else if (++at_ == buffer_.size()) {
    fill(buffer_.back().entry.next, kBuffered);
  }
}

}  // namespace pkgfs::vfs
