// SPDX-License-Identifier: MIT
#include "tests/support/containers/package_builder.h"

#include <fcntl.h>

#include <stdexcept>
#include <utility>

#include "core/base/hash.h"
#include "core/base/unique_fd.h"

namespace pkgfs::test {

namespace {

/// Any time will do, but not the one that stands for "none".
constexpr std::uint64_t kModified = 1'600'000'000;

}  // namespace

PackageBuilder::PackageBuilder(std::string id, webc::Version version) : version_(version) {
  const std::size_t at = id.rfind('@');
  name_ = id.substr(0, at);
  version_text_ = id.substr(at + 1);
}

webc::WriterNode& PackageBuilder::node(const std::string& volume, std::string_view path) {
  webc::WriterNode* here = &volumes_[volume];
  here->modified = kModified;
  while (!path.empty()) {
    const std::string_view name = path.substr(0, path.find('/'));
    path.remove_prefix(std::min(path.size(), name.size() + 1));
    webc::WriterNode* next = nullptr;
    for (webc::WriterNode& child : here->children) {
      next = child.name == name ? &child : next;
    }
    if (next == nullptr) {
      next = &here->children.emplace_back();
      next->name = name;
      next->modified = kModified;
    }
    here = next;
  }
  return *here;
}

PackageBuilder& PackageBuilder::file(const std::string& volume, std::string_view path, std::string content) {
  webc::WriterNode& entry = node(volume, path);
  entry.kind = webc::EntryKind::kFile;
  entry.content = std::move(content);
  return *this;
}

PackageBuilder& PackageBuilder::directory(const std::string& volume, std::string_view path) {
  static_cast<void>(node(volume, path));
  return *this;
}

PackageBuilder& PackageBuilder::link(const std::string& volume, std::string_view path, std::string target) {
  webc::WriterNode& entry = node(volume, path);
  entry.kind = webc::EntryKind::kSymlink;
  entry.target = std::move(target);
  return *this;
}

PackageBuilder& PackageBuilder::mount(const std::string& path, const std::string& volume,
                                      const std::optional<std::string>& from,
                                      const std::optional<std::string>& source) {
  webc::Json entry{{"from", nullptr}, {"volume_name", volume}, {"mount_path", path}};
  if (from.has_value()) {
    entry["from"] = *from;
  }
  if (source.has_value()) {
    entry["original_path"] = *source;
  }
  fs_.push_back(std::move(entry));
  return *this;
}

PackageBuilder& PackageBuilder::use(const std::string& alias, const std::string& specifier) {
  use_[alias] = specifier;
  return *this;
}

PackageBuilder& PackageBuilder::command(const std::string& name, const std::string& atom) {
  atoms_[name] = atom;
  atom_entries_[name] = {{"kind", "https://webc.org/kind/wasm"}, {"signature", webc::atom_signature(sha256(atom))}};
  commands_[name] = {{"runner", "https://webc.org/runner/wasi"},
                     {"annotations", {{"atom", {{"name", name}}}, {"wasi", {{"atom", name}}}}}};
  return *this;
}

webc::Writer PackageBuilder::writer() const {
  webc::Json manifest{{"package", {{"wapm", {{"name", name_}, {"version", version_text_}, {"description", "test"}}}}}};
  manifest["package"]["fs"] = fs_;
  if (!use_.empty()) {
    manifest["use"] = use_;
  }
  if (!commands_.empty()) {
    manifest["atoms"] = atom_entries_;
    manifest["commands"] = commands_;
  }
  webc::Writer writer(version_, std::move(manifest));
  for (const auto& [name, content] : atoms_) {
    writer.add_atom(name, content);
  }
  for (const auto& [name, root] : volumes_) {
    writer.add_volume(name, root);
  }
  return writer;
}

void PackageBuilder::write(const std::filesystem::path& path) const {
  std::filesystem::create_directories(path.parent_path());
  const UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  if (!fd) {
    throw std::runtime_error("can't write " + path.string());
  }
  static_cast<void>(writer().write(fd.get()));
}

std::filesystem::path PackageBuilder::publish(const std::filesystem::path& registry) const {
  const std::filesystem::path path = registry / name_ / (version_text_ + ".webc");
  write(path);
  return path;
}

}  // namespace pkgfs::test
