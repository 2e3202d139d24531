// SPDX-License-Identifier: MIT
#include "daemon/cli/json_output.h"

#include <cstdint>
#include <limits>
#include <ostream>

#include <nlohmann/json.hpp>

#include "core/base/printable.h"

namespace pkgfs {

using nlohmann::json;

namespace {

/// The text of `document`. nlohmann::json escapes C0; the other hidden characters can only be inside of its strings.
template <typename Json>
std::string text_of(const Json& document, int indent) {
  return printable_json(document.dump(indent, ' ', false, Json::error_handler_t::replace));
}

}  // namespace

void print_json(std::ostream& out, const json& document) { out << text_of(document, 2) << '\n'; }

void print_ordered_json(std::ostream& out, const nlohmann::ordered_json& document) {
  out << text_of(document, 2) << '\n';
}

std::string json_line(const json& document) { return text_of(document, -1); }

void print_json_line(std::ostream& out, const json& document) { out << json_line(document) << '\n' << std::flush; }

void JsonListPrinter::add(std::string_view line) {
  out_ << (any_ ? ",\n" : "[\n") << line;
  any_ = true;
}

void JsonListPrinter::finish() { out_ << (any_ ? "\n]\n" : "[\n]\n"); }

std::string hex(std::span<const std::byte> bytes) {
  static constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  text.reserve(bytes.size() * 2);
  for (const std::byte byte : bytes) {
    text += kDigits[std::to_integer<unsigned>(byte) >> 4U];
    text += kDigits[std::to_integer<unsigned>(byte) & 15U];
  }
  return text;
}

std::int64_t nanoseconds(std::int64_t seconds, std::uint32_t fraction) {
  constexpr std::int64_t kSecond = 1'000'000'000;
  std::int64_t result = 0;
  if (__builtin_mul_overflow(seconds, kSecond, &result) || __builtin_add_overflow(result, fraction, &result)) {
    return seconds < 0 ? std::numeric_limits<std::int64_t>::min() : std::numeric_limits<std::int64_t>::max();
  }
  return result;
}

json resolution_json(const Resolution& resolution) {
  const auto& nodes = resolution.graph.nodes;
  json discovery = json::array();
  json edges = json::array();
  for (const auto& node : nodes) {
    discovery.push_back(node.pkg.id.to_string());
    for (const auto& edge : node.edges) {
      edges.push_back(
          {{"alias", edge.alias}, {"from", node.pkg.id.to_string()}, {"to", nodes.at(edge.target).pkg.id.to_string()}});
    }
  }
  json order = json::array();
  for (const std::size_t index : resolution.order) {
    order.push_back(nodes.at(index).pkg.id.to_string());
  }
  json commands = json::object();
  for (const auto& [name, command] : resolution.package.commands) {
    commands[name] = {{"name", command.name}, {"package", command.package.to_string()}};
  }
  json filesystem = json::array();
  for (const ResolvedMapping& mapping : resolution.package.filesystem) {
    filesystem.push_back({{"mount_path", mapping.mount_path},
                          {"volume_name", mapping.volume_name},
                          {"original_path", optional_json(mapping.original_path)},
                          {"package", mapping.package.to_string()}});
  }
  return {{"root_package", resolution.package.root.to_string()},
          {"discovery_order", std::move(discovery)},
          {"topological_order", std::move(order)},
          {"edges", std::move(edges)},
          {"commands", std::move(commands)},
          {"entrypoint", optional_json(resolution.package.entrypoint)},
          {"filesystem", std::move(filesystem)}};
}

std::string_view type_name(vfs::FileType type) {
  switch (type) {
    case vfs::FileType::kDirectory:
      return "dir";
    case vfs::FileType::kFile:
      return "file";
    case vfs::FileType::kSymlink:
      return "symlink";
  }
  return {};
}

json entry_json(std::string_view path, const vfs::Attributes& attributes, const std::optional<Sha256>& sha256,
                std::string_view target) {
  json entry{{"path", path},
             {"mtime_ns", nanoseconds(attributes.modified, attributes.modified_ns)},
             {"type", type_name(attributes.type)}};
  if (attributes.type == vfs::FileType::kFile) {
    entry["len"] = attributes.size;
    entry["sha256"] = sha256 ? json(to_hex(*sha256)) : json();
  } else if (attributes.type == vfs::FileType::kSymlink) {
    entry["target"] = target;
  }
  return entry;
}

json optional_json(const std::optional<std::string>& text) { return text ? json(*text) : json(); }

}  // namespace pkgfs
