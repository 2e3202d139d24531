// SPDX-License-Identifier: MIT
#include <algorithm>
#include <deque>
#include <map>
#include <unordered_set>

#include "core/base/error.h"
#include "core/base/hash.h"
#include "core/base/limits.h"
#include "core/webc/builder.h"
#include "core/webc/bytes.h"
#include "core/webc/tree_volume.h"
#include "core/webc/v1.h"

namespace pkgfs::webc {
namespace {

using Bytes = std::span<const std::byte>;

bool is_sha256(Bytes stored, Bytes of) {
  const Sha256 digest = sha256(of);
  return std::ranges::equal(stored, std::as_bytes(std::span(digest)));
}

class Problems {
 public:
  Problems(std::string source, std::vector<std::string>& out) : source_(std::move(source)), out_(out) {}
  void add(const std::string& text) {
    if (!full()) {
      out_.push_back(source_ + ": " + text);
    }
  }
  [[nodiscard]] bool full() const { return out_.size() >= kMaxProblems; }

 private:
  std::string source_;
  std::vector<std::string>& out_;
};

// Follows one tree, each directory once, without recursion.
class TreeCheck {
 public:
  TreeCheck(const Tree& tree, bool atoms, VerifyDepth depth, Problems& problems)
      : tree_(tree), atoms_(atoms), depth_(depth), problems_(problems) {}

  void run() {
    const auto root = tree_.table(kRootRef);
    if (!root) {
      add(root.error());
      return;
    }
    claim(*root);
    for (pending_.push_back({}); !pending_.empty() && !problems_.full(); pending_.pop_front()) {
      directory(pending_.front());
    }
    check_entries();
  }

 private:
  struct Directory {
    std::uint64_t entry = kRootRef;
    std::size_t depth = 0;
  };

  void add(const Problem& problem) { problems_.add(describe(tree_.parts(), atoms_, problem)); }

  bool claim(const Extent& extent) {
    const auto after = tables_.lower_bound(extent.begin);
    if ((after != tables_.end() && after->first < extent.end) ||
        (after != tables_.begin() && std::prev(after)->second > extent.begin)) {
      return false;
    }
    tables_.emplace_hint(after, extent.begin, extent.end);
    return true;
  }

  void directory(const Directory& directory) {
    const auto table = tree_.table(directory.entry);
    const auto own = tree_.entry(directory.entry);
    if (!table || !own) {
      add(table ? own.error() : table.error());
      return;
    }
    const Cursor first = tree_.children(*table);
    SeenNames seen(tree_, first);
    Sha256Hasher hashes;
    for (Cursor cursor = first; !cursor.done() && !problems_.full();) {
      const auto child = tree_.next(cursor);
      if (!child) {
        add(child.error());
        return;
      }
      hashes.update(child->sha256);
      if (const char* why = name_problem(child->name)) {
        add({.at = child->at, .text = "name " + in_quotes(child->name) + " " + why});
      } else if (!seen.add(*child)) {
        add({.at = child->at, .text = "a second entry named " + in_quotes(child->name)});
      }
      check_child(directory, *child);
    }
    if (tree_.depth_first() && !own->sha256.empty()) {
      const Sha256 digest = hashes.finish();
      if (!std::ranges::equal(own->sha256, std::as_bytes(std::span(digest)))) {
        add({.at = directory.entry, .text = "directory hash is not that of its children"});
      }
    }
  }

  void check_child(const Directory& parent, const Child& child) {
    const auto info = entry_of(tree_, child);
    if (!info) {
      add(info.error());
      return;
    }
    if (!child.sha256.empty() && !std::ranges::equal(child.sha256, info->sha256)) {
      add({.at = child.at, .text = "hash of " + in_quotes(child.name) + " differs from the one in its entry"});
    }
    if (atoms_ && info->kind != EntryKind::kFile) {
      add({.at = child.at, .text = "atom " + in_quotes(child.name) + " is not a file"});
    }
    if (info->kind == EntryKind::kDirectory) {
      const auto table = tree_.table(child.entry);
      if (!table || table->empty()) {
        return;
      }
      if (!claim(*table)) {
        add({.at = child.at,
             .text = "directory " + in_quotes(child.name) + " at " + hex(table->begin) +
                     " is reached twice or overlaps another"});
      } else if (parent.depth + 1 > limits::kTreeDepth) {
        add({.at = child.at, .text = "directories deeper than " + std::to_string(limits::kTreeDepth) + " levels"});
      } else {
        pending_.push_back({.entry = child.entry, .depth = parent.depth + 1});
      }
      return;
    }
    if (const std::uint64_t length = tree_.entry_length(child.entry, *info)) {
      entries_.push_back({.begin = child.entry, .end = child.entry + length});
    }
    if (info->kind == EntryKind::kSymlink) {
      check_link(parent, child, *info);
    } else if (depth_ == VerifyDepth::kContent && !info->sha256.empty()) {
      check_body(child, *info);
    }
  }

  void check_body(const Child& child, const EntryInfo& info) {
    // Bodies may overlap; hashing the same bytes for a million files must not take a year.
    constexpr std::uint64_t kRounds = 16;
    if (info.length > kRounds * tree_.file().size() - hashed_) {
      if (!gave_up_) {
        add({.at = child.entry, .text = "file bodies overlap too much to be checked"});
      }
      gave_up_ = true;
      return;
    }
    hashed_ += info.length;
    if (!is_sha256(info.sha256, tree_.file().subspan(info.offset, info.length))) {
      add({.at = child.entry, .text = "content of " + in_quotes(child.name) + " does not match its hash"});
    }
  }

  void check_link(const Directory& parent, const Child& child, const EntryInfo& info) {
    if (depth_ == VerifyDepth::kContent &&
        !is_sha256(info.sha256, std::as_bytes(std::span(info.target.data(), info.target.size())))) {
      add({.at = child.entry, .text = "target of " + in_quotes(child.name) + " does not match its hash"});
    }
    std::size_t depth = parent.depth;
    std::string_view rest = info.target;
    bool leaves = rest.starts_with('/');
    while (!rest.empty() && !leaves) {
      const std::string_view part = rest.substr(0, rest.find('/'));
      rest.remove_prefix(std::min(rest.size(), part.size() + 1));
      if (part == "..") {
        leaves = depth == 0;
        depth -= leaves ? 0 : 1;
      } else if (!part.empty() && part != ".") {
        ++depth;
      }
    }
    if (leaves) {
      add({.at = child.entry,
           .text = "link " + in_quotes(child.name) + " to " + in_quotes(info.target) + " leaves the volume"});
    }
  }

  // Files and links: an entry belongs to one record, and no two share bytes.
  void check_entries() {
    for (const auto& [begin, end] : tables_) {
      if (tree_.depth_first()) {
        entries_.push_back({.begin = begin, .end = end});
      }
    }
    std::sort(entries_.begin(), entries_.end(), [](const Extent& a, const Extent& b) { return a.begin < b.begin; });
    for (std::size_t i = 1; i < entries_.size() && !problems_.full(); ++i) {
      if (entries_[i].begin < entries_[i - 1].end) {
        add({.at = entries_[i].begin,
             .text = entries_[i].begin == entries_[i - 1].begin
                         ? std::string("entry is referenced twice")
                         : "entry overlaps the one at " + hex(entries_[i - 1].begin)});
      }
    }
  }

  const Tree& tree_;
  bool atoms_;
  VerifyDepth depth_;
  Problems& problems_;
  std::deque<Directory> pending_;
  std::map<std::uint64_t, std::uint64_t> tables_;
  std::vector<Extent> entries_;
  std::uint64_t hashed_ = 0;
  bool gave_up_ = false;
};

class ContainerCheck {
 public:
  ContainerCheck(const Container& container, VerifyDepth depth, Problems& problems)
      : container_(container),
        bytes_(container.source()->bytes()),
        depth_(depth),
        content_(depth == VerifyDepth::kContent),
        problems_(problems) {}

  void run() {
    const Layout layout = read_layout(*container_.source());
    if (layout.version == Version::kV1) {
      check_v1_checksum();
    } else if (const Index* index = container_.index()) {
      check_section("manifest", index->manifest);
      check_section("atoms", index->atoms);
      for (const auto& [name, entry] : index->volumes) {
        check_section("volume " + in_quotes(name), entry);
      }
    }
    check_manifest();
    TreeCheck(*make_tree(layout.version, bytes_, layout.atoms), true, depth_, problems_).run();
    for (const VolumeParts& parts : layout.volumes) {
      TreeCheck(*make_tree(layout.version, bytes_, parts), false, depth_, problems_).run();
    }
    if (container_.source()->damaged()) {
      problems_.add("could not be read completely");
    }
  }

 private:
  void check_section(const std::string& title, const IndexEntry& entry) {
    const bool v3 = container_.version() == Version::kV3;
    const auto add = [&](const std::string& what) {
      problems_.add(title + ", offset " + hex(entry.start) + ": " + what);
    };
    const Bytes payload = bytes_.subspan(entry.start, entry.length).subspan(v3 ? 41 : 9);
    const Bytes framing = v3 ? bytes_.subspan(entry.start + 1, 32) : Bytes{};
    const Bytes checksum = std::as_bytes(std::span(entry.checksum.data(), entry.checksum.size()));
    const bool checked = entry.checksum_tag == "checksum-sha256";
    if (checked && checksum.size() != 32) {
      add("checksum of " + std::to_string(checksum.size()) + " bytes in the index");
    } else if (checked && v3 && !std::ranges::equal(checksum, framing)) {
      add("checksum in the index differs from the one in the section");
    } else if (!checked && entry.checksum_tag != "checksum-none") {
      add("checksum of the kind " + in_quotes(entry.checksum_tag) + " in the index");
    }
    if (content_ && (checked || v3)) {
      const Sha256 digest = sha256(payload);
      const Bytes actual = std::as_bytes(std::span(digest));
      if (checked && checksum.size() == 32 && !std::ranges::equal(checksum, actual)) {
        add("content does not match the checksum in the index");
      }
      if (v3 && !std::ranges::equal(framing, actual)) {
        add("content does not match the section's hash");
      }
    }
  }

  void check_v1_checksum() {
    const std::uint64_t signature =
        load_u64(bytes_, kV1SignatureLength) & 0xffff'ffffULL;  // 4 bytes, the signature follows
    if (signature > kV1Manifest - kV1Signature) {
      problems_.add("signature, offset " + hex(kV1SignatureLength) + ": length " + hex(signature) +
                    " is past the signature area");
    }
    const bool none = as_text(bytes_.subspan(kV1ChecksumKind, 1)) == "-";
    if (none || !content_) {
      return;
    }
    Sha256Hasher hasher;
    const std::vector<std::byte> zeros(kV1Manifest - kV1Checksum);
    hasher.update(bytes_.first(kV1Checksum));
    hasher.update(zeros);
    hasher.update(bytes_.subspan(kV1Manifest));
    const Sha256 digest = hasher.finish();
    if (!std::ranges::equal(bytes_.subspan(kV1Checksum, 32), std::as_bytes(std::span(digest)))) {
      problems_.add("checksum, offset " + hex(kV1Checksum) + ": the content does not match it");
    }
  }

  void check_manifest() {
    const Manifest& manifest = container_.manifest();
    std::unordered_set<std::string_view> listed;
    for (const AtomEntry& entry : manifest.atoms) {
      check_atom(entry);
      listed.insert(entry.name);
    }
    for (const Atom& atom : container_.atoms()) {
      if (!listed.contains(atom.name)) {
        problems_.add("manifest: the atom " + in_quotes(atom.name) + " is not listed");
      }
    }
    try {
      (void)manifest.wapm();
    } catch (const Error& error) {
      problems_.add("manifest: " + error.message());
    }
    try {
      const auto mappings = manifest.fs();
      for (const Dependency& dependency : manifest.use) {
        aliases_.insert(dependency.alias);
      }
      for (std::size_t i = 0; mappings && i < mappings->size(); ++i) {
        check_mapping((*mappings)[i], i);
      }
    } catch (const Error& error) {
      problems_.add("manifest: " + error.message());
    }
  }

  void check_atom(const AtomEntry& entry) {
    const std::string title = "manifest: atom " + in_quotes(entry.name) + ": ";
    const Atom* atom = container_.find_atom(entry.name);
    if (atom == nullptr) {
      problems_.add(title + "not in the container");
      return;
    }
    if (!entry.signature.starts_with("sha256:")) {
      problems_.add(title + "malformed atom signature");
      return;
    }
    const auto digest = base64_decode(std::string_view(entry.signature).substr(7));
    if (!digest || digest->size() != 32) {
      problems_.add(title + (digest ? "sha256 hash must be 32 bytes" : "malformed base64 encoded hash"));
    } else if (content_ && !is_sha256(std::as_bytes(std::span(digest->data(), digest->size())), atom->body.bytes())) {
      problems_.add(title + "the content, offset " + hex(atom->body.offset) + ", does not match the signature");
    }
  }

  void check_mapping(const FsEntry& entry, std::size_t number) {
    const std::string title = "manifest: fs mapping " + std::to_string(number) + ": ";
    if (!entry.from && container_.find_volume(entry.volume_name) == nullptr) {
      problems_.add(title + "there is no volume " + in_quotes(entry.volume_name));
    }
    if (entry.from && !aliases_.contains(*entry.from)) {
      problems_.add(title + "there is no dependency " + in_quotes(*entry.from));
    }
    std::size_t depth = 0;
    bool bad = entry.mount_path.find('\0') != std::string::npos;
    for (std::string_view rest = entry.mount_path; !rest.empty() && !bad;) {
      const std::string_view part = rest.substr(0, rest.find('/'));
      rest.remove_prefix(std::min(rest.size(), part.size() + 1));
      if (part == "..") {
        bad = depth == 0;
        depth -= bad ? 0 : 1;
      } else if (!part.empty() && part != ".") {
        ++depth;
      }
    }
    if (bad) {
      problems_.add(title + "bad mount path " + in_quotes(entry.mount_path));
    }
  }

  const Container& container_;
  Bytes bytes_;
  VerifyDepth depth_;
  bool content_;
  Problems& problems_;
  std::unordered_set<std::string_view> aliases_;
};

}  // namespace

std::vector<std::string> verify(const Container& container, VerifyDepth depth) {
  std::vector<std::string> found;
  Problems problems(container.source()->name(), found);
  try {
    ContainerCheck(container, depth, problems).run();
  } catch (const Error& error) {  // the file is not what it was when it was opened
    found.emplace_back(error.message());
  }
  return found;
}

}  // namespace pkgfs::webc
