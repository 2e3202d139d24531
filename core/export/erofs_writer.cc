// SPDX-License-Identifier: MIT
#include "core/export/erofs_writer.h"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <limits>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "core/base/files.h"
#include "core/base/hash.h"
#include "core/export/erofs_directory.h"
#include "core/export/erofs_format.h"
#include "core/export/patched_file.h"
#include "core/export/tree_reader.h"
#include "core/load/nameless_file.h"

namespace pkgfs {

namespace {

using erofs::EntryType;
using erofs::Layout;

/// A longer end of a file gets a block of its own. So the inodes stay close together, and a walk reads few blocks.
constexpr std::uint64_t kLongestInline = 2048;

/// Whether the bytes behind an inode follow it, and where the whole blocks are.
struct Placed {
  Layout layout = Layout::kPlain;
  std::uint32_t block = 0;
  std::span<const std::byte> tail;  // behind the inode
};

/// Writes an image in one pass. Directories are written when the walk leaves them. Each of their entries then has its
/// number, except "..": this is written when the parent has its number, too.
class ErofsImage final : public TreeTarget {
 public:
  ErofsImage(TreeReader& reader, int fd, const std::string& name, const std::string& directory)
      : reader_(reader),
        data_(fd, name, erofs::kBlock),
        metadata_file_(nameless_file(directory)),
        metadata_name_(nameless_file_name(directory)),
        metadata_(metadata_file_.get(), metadata_name_) {}

  void enter(const ExportEntry& directory) override {
    if (way_.empty()) {
      super_.time = static_cast<std::uint64_t>(directory.attributes.modified);
      super_.time_ns = directory.attributes.modified_ns;
      // The number of the root must be below 2^16, so its place is reserved first. 0 is no number for an inode.
      metadata_.align(erofs::kSlot);
      const std::array<std::byte, 2 * sizeof(erofs::ExtendedInode)> room{};
      metadata_.append(room);
    }
    way_.emplace_back();
  }

  void file(const ExportEntry& file) override {
    const std::uint64_t size = file.attributes.size;
    const std::uint64_t rest = size % erofs::kBlock;
    const std::uint64_t whole = rest <= kLongestInline ? size - rest : size;
    const std::uint32_t block = next_block();
    tail_.clear();
    std::uint64_t offset = 0;
    reader_.copy(file, [&](std::span<const std::byte> bytes) {
      const auto here =
          static_cast<std::size_t>(std::min<std::uint64_t>(bytes.size(), whole - std::min(whole, offset)));
      data_.append(bytes.first(here));
      tail_.insert(tail_.end(), bytes.begin() + static_cast<std::ptrdiff_t>(here), bytes.end());
      offset += bytes.size();
    });
    data_.align(erofs::kBlock);
    add(file, EntryType::kFile,
        add_inode(file.attributes, S_IFREG, size, 1,
                  {.layout = tail_.empty() ? Layout::kPlain : Layout::kInline, .block = block, .tail = tail_}));
  }

  void link(const ExportEntry& link, std::string_view target) override {
    const auto text = std::as_bytes(std::span(target));
    Placed placed{.layout = Layout::kInline, .block = 0, .tail = text};
    if (target.size() > kLongestInline) {
      placed = {.layout = Layout::kPlain, .block = next_block(), .tail = {}};
      data_.append(text);
      data_.align(erofs::kBlock);
    }
    add(link, EntryType::kLink, add_inode(link.attributes, S_IFLNK, target.size(), 1, placed));
  }

  void leave(const ExportEntry& directory) override {
    ErofsDirectory entries = std::move(way_.back());
    way_.pop_back();
    const bool is_root = way_.empty();
    const std::uint64_t size = entries.size();
    const std::uint64_t rest = size % erofs::kBlock;
    const bool is_inline = !is_root && rest > 0 && rest <= kLongestInline;
    const auto links = static_cast<std::uint32_t>(2 + entries.directories().size());
    // The number comes first, because the entry "." has it.
    const bool compact = is_compact(directory.attributes, size, links);
    const std::uint64_t inode_size = compact ? sizeof(erofs::CompactInode) : sizeof(erofs::ExtendedInode);
    const std::uint64_t at = is_root ? sizeof(erofs::ExtendedInode) : place(inode_size, is_inline ? rest : 0);
    const std::uint64_t nid = at / erofs::kSlot;
    Placed placed{.layout = is_inline ? Layout::kInline : Layout::kPlain, .block = next_block(), .tail = {}};
    tail_.clear();
    std::uint64_t written = 0;
    ErofsParentField parent{};
    entries.write(nid, [&](std::span<const std::byte> block, std::optional<std::size_t> parent_at) {
      const bool last = written + erofs::kBlock > size;
      const bool behind_inode = is_inline && last;
      if (parent_at) {
        parent = {.in_metadata = behind_inode, .offset = (behind_inode ? at + inode_size : data_.size()) + *parent_at};
      }
      if (behind_inode) {
        tail_.assign(block.begin(), block.end());
      } else {
        data_.append(block);
      }
      written += block.size();
    });
    data_.align(erofs::kBlock);
    placed.tail = tail_;
    write_inode(at, directory.attributes, S_IFDIR, size, links, placed);
    for (const ErofsParentField& child : entries.directories()) {
      set_parent(child, nid);
    }
    if (is_root) {
      set_parent(parent, nid);
      super_.root_nid = static_cast<std::uint16_t>(nid);
    } else {
      add(directory, EntryType::kDirectory, nid);
      way_.back().add_directory(parent);
    }
  }

  void finish() {
    metadata_.align(erofs::kBlock);
    metadata_.flush();
    super_.metadata_block = next_block();
    append_metadata();
    data_.flush();
    super_.blocks = next_block();
    super_.inodes = inodes_;
    std::array<std::byte, erofs::kBlock> block{};
    const auto place = std::span(block).subspan(erofs::kSuperBlockAt);
    std::ranges::copy(erofs::bytes_of(super_), place.begin());
    super_.checksum = erofs::crc32c(place);
    std::ranges::copy(erofs::bytes_of(super_), place.begin());
    data_.patch(0, block);
  }

 private:
  [[nodiscard]] std::uint32_t next_block() const {
    const std::uint64_t block = data_.size() / erofs::kBlock;
    if (block > std::numeric_limits<std::uint32_t>::max()) {
      throw Error(ErrorCode::kUnsupported, "the tree is too large for an EROFS image, which has at most 16 TiB");
    }
    return static_cast<std::uint32_t>(block);
  }

  void add(const ExportEntry& entry, EntryType type, std::uint64_t nid) {
    if (entry.name.size() > erofs::kLongestName) {
      throw unreadable_entry(entry.path, ENAMETOOLONG);
    }
    way_.back().add(entry.name, type, nid);
  }

  [[nodiscard]] bool is_compact(const vfs::Attributes& attributes, std::uint64_t size, std::uint32_t links) const {
    return static_cast<std::uint64_t>(attributes.modified) == super_.time && attributes.modified_ns == super_.time_ns &&
           size <= std::numeric_limits<std::uint32_t>::max() && links <= std::numeric_limits<std::uint16_t>::max();
  }

  /// Makes room for an inode and the `tail` bytes behind it, which must not be in two blocks. Returns the offset.
  std::uint64_t place(std::uint64_t inode_size, std::uint64_t tail) {
    metadata_.align(erofs::kSlot);
    if (tail > 0 && metadata_.size() % erofs::kBlock + inode_size + tail > erofs::kBlock) {
      metadata_.align(erofs::kBlock);
    }
    const std::uint64_t at = metadata_.size();
    const std::array<std::byte, sizeof(erofs::ExtendedInode) + kLongestInline> zeros{};
    metadata_.append(std::span(zeros).first(static_cast<std::size_t>(inode_size + tail)));
    return at;
  }

  std::uint64_t add_inode(const vfs::Attributes& attributes, std::uint32_t type, std::uint64_t size,
                          std::uint32_t links, const Placed& placed) {
    const bool compact = is_compact(attributes, size, links);
    const std::uint64_t at =
        place(compact ? sizeof(erofs::CompactInode) : sizeof(erofs::ExtendedInode), placed.tail.size());
    write_inode(at, attributes, type, size, links, placed);
    return at / erofs::kSlot;
  }

  void write_inode(std::uint64_t at, const vfs::Attributes& attributes, std::uint32_t type, std::uint64_t size,
                   std::uint32_t links, const Placed& placed) {
    const auto format = static_cast<std::uint16_t>(static_cast<unsigned>(placed.layout) << 1U);
    const auto mode = static_cast<std::uint16_t>(type | attributes.mode);
    const auto number = static_cast<std::uint32_t>(++inodes_);
    std::uint64_t end = at;
    if (is_compact(attributes, size, links)) {
      const erofs::CompactInode inode{.format = format,
                                      .mode = mode,
                                      .links = static_cast<std::uint16_t>(links),
                                      .size = static_cast<std::uint32_t>(size),
                                      .block = placed.block,
                                      .number = number};
      metadata_.patch(at, erofs::bytes_of(inode));
      end += sizeof(inode);
    } else {
      const erofs::ExtendedInode inode{.format = static_cast<std::uint16_t>(format | 1U),
                                       .mode = mode,
                                       .size = size,
                                       .block = placed.block,
                                       .number = number,
                                       .time = static_cast<std::uint64_t>(attributes.modified),
                                       .time_ns = attributes.modified_ns,
                                       .links = links};
      metadata_.patch(at, erofs::bytes_of(inode));
      end += sizeof(inode);
    }
    metadata_.patch(end, placed.tail);
  }

  void set_parent(const ErofsParentField& child, std::uint64_t nid) {
    (child.in_metadata ? metadata_ : data_).patch(child.offset, erofs::bytes_of(nid));
  }

  /// Copies the metadata behind the data. Its hash becomes the UUID of the image.
  void append_metadata() {
    Sha256Hasher hasher;
    read_pieces(metadata_file_.get(), metadata_name_, [&](std::span<const std::byte> bytes) {
      hasher.update(bytes);
      data_.append(bytes);
    });
    const Sha256 digest = hasher.finish();
    std::copy_n(digest.begin(), super_.uuid.size(), super_.uuid.begin());
    super_.uuid[6] = static_cast<std::uint8_t>((super_.uuid[6] & 0x0fU) | 0x80U);  // version 8 (RFC 9562, 5.8)
    super_.uuid[8] = static_cast<std::uint8_t>((super_.uuid[8] & 0x3fU) | 0x80U);
  }

  TreeReader& reader_;
  erofs::SuperBlock super_;
  PatchedFile data_;
  UniqueFd metadata_file_;
  std::string metadata_name_;
  PatchedFile metadata_;
  std::uint64_t inodes_ = 0;
  std::vector<ErofsDirectory> way_;
  std::vector<std::byte> tail_;
};

}  // namespace

void write_erofs(vfs::FileSystem& fs, int fd, const std::string& name, const std::string& directory) {
  TreeReader reader(fs);
  ErofsImage image(reader, fd, name, directory);
  reader.run(image);
  image.finish();
}

}  // namespace pkgfs
