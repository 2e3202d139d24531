// SPDX-License-Identifier: MIT
#include <algorithm>
#include <set>

#include "core/base/error.h"
#include "core/base/hash.h"
#include "core/webc/buffer.h"
#include "core/webc/builder.h"
#include "core/webc/bytes.h"
#include "core/webc/v1.h"
#include "core/webc/verify_tree.h"

namespace pkgfs::webc {
namespace {

class ContainerCheck {
 public:
  ContainerCheck(const Container& container, VerifyDepth depth, Problems& problems)
      : container_(container),
        bytes_(container.source()->bytes()),
        depth_(depth),
        content_(depth == VerifyDepth::kContent),
        problems_(problems) {}

  void run() {
    if (content_) {
      container_.source()->need(0, bytes_.size());
    }
    const Layout layout = read_layout(*container_.source(), limits::kLocal);
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
    verify_tree(*make_tree(layout.version, bytes_, layout.atoms), true, depth_, problems_);
    for (const VolumeParts& parts : layout.volumes) {
      verify_tree(*make_tree(layout.version, bytes_, parts), false, depth_, problems_);
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
    std::set<std::string_view> listed;
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
    if (entry.mount_path.find('\0') != std::string::npos || climbs_out(entry.mount_path, 0)) {
      problems_.add(title + "bad mount path " + in_quotes(entry.mount_path));
    }
  }

  const Container& container_;
  Bytes bytes_;
  VerifyDepth depth_;
  bool content_;
  Problems& problems_;
  std::set<std::string_view> aliases_;
};

}  // namespace

std::vector<std::string> verify(const Container& container, VerifyDepth depth) {
  std::vector<std::string> found;
  Problems problems(container.source()->name(), found);
  try {
    ContainerCheck(container, depth, problems).run();
  } catch (const Error& error) {  // the file has changed since it was opened
    if (error.is_of_run()) {
      throw;
    }
    found.emplace_back(error.message());
  }
  return found;
}

}  // namespace pkgfs::webc
