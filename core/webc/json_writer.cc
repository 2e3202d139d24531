// SPDX-License-Identifier: MIT
#include "core/webc/json_writer.h"

#include <ostream>
#include <streambuf>
#include <string>

#include "core/base/cancel.h"
#include "core/base/printable.h"
#include "core/base/utf8.h"
#include "core/webc/manifest.h"

namespace pkgfs::webc {
namespace {

/// Takes the characters of a document and prints them inside a string. A document has no control characters.
class Quoting final : public std::streambuf {
 public:
  explicit Quoting(std::ostream& out) : out_(out) {}

 protected:
  int_type overflow(int_type c) override {
    if (!traits_type::eq_int_type(c, traits_type::eof())) {
      const char one = traits_type::to_char_type(c);
      xsputn(&one, 1);
    }
    return traits_type::not_eof(c);
  }
  std::streamsize xsputn(const char* text, std::streamsize size) override {
    std::string_view rest(text, static_cast<std::size_t>(size));
    while (!rest.empty()) {
      const std::size_t plain = std::min(rest.find_first_of("\"\\"), rest.size());
      out_ << rest.substr(0, plain);
      rest.remove_prefix(plain);
      if (!rest.empty()) {
        out_ << '\\' << rest.front();
        rest.remove_prefix(1);
      }
    }
    return size;
  }

 private:
  std::ostream& out_;
};

bool is_plain(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return c >= ' ' && c <= '~' && c != '"' && c != '\\'; });
}

/// The first part of `text`, which doesn't end inside a character.
std::string_view slice_of(std::string_view text) {
  constexpr std::size_t kSlice = 4096;
  if (text.size() <= kSlice) {
    return text;
  }
  constexpr std::size_t kMostContinuations = 3;
  std::size_t back = 0;
  while (back < kMostContinuations && continues_character(text[kSlice - back])) {
    ++back;
  }
  const bool is_utf8 = !continues_character(text[kSlice - back]);
  return text.substr(0, kSlice - (is_utf8 ? back : 0));
}

}  // namespace

void JsonWriter::new_line() {
  if (style_.indent) {
    static constexpr std::string_view kBlanks = "                                ";
    out_.put('\n');
    for (std::size_t left = 2 * depth_; left != 0;) {
      const std::size_t some = std::min(left, kBlanks.size());
      out_ << kBlanks.substr(0, some);
      left -= some;
    }
  }
}

void JsonWriter::begin(char bracket) {
  throw_if_cancelled();
  out_.put(bracket);
  ++depth_;
  is_empty_ = true;
}

void JsonWriter::next() {
  if (!is_empty_) {
    out_.put(',');
  }
  new_line();
  is_empty_ = false;
}

void JsonWriter::key(std::string_view key) {
  next();
  text(key);
  out_ << (style_.indent ? ": " : ":");
}

void JsonWriter::end(char bracket) {
  --depth_;
  if (!is_empty_) {
    new_line();
  }
  out_.put(bracket);
  is_empty_ = false;
}

void JsonWriter::text(std::string_view text) {
  out_.put('"');
  while (!text.empty()) {
    throw_if_cancelled();
    const std::string_view slice = slice_of(text);
    text.remove_prefix(slice.size());
    if (is_plain(slice)) {
      out_ << slice;
      continue;
    }
    const std::string quoted = nlohmann::json(slice).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    out_ << printable_json(std::string_view(quoted).substr(1, quoted.size() - 2));
  }
  out_.put('"');
}

void JsonWriter::bytes(const nlohmann::json::binary_t& bytes) {
  const auto numbers = [&] {
    const char* between = "";
    out_.put('[');
    for (const std::uint8_t byte : bytes) {
      out_ << between << std::to_string(byte);
      between = style_.indent ? ", " : ",";
    }
    out_.put(']');
  };
  object({{"bytes", numbers}, {"subtype", [&] { out_ << "null"; }}});
}

void JsonWriter::object(const std::vector<Member>& members) {
  map(members, [](const Member& member) { return member.key; }, [](const Member& member) { member.write(); });
}

void JsonWriter::quoted(FunctionRef<void(JsonWriter& compact)> write) {
  out_.put('"');
  Quoting buffer(out_);
  std::ostream quoting(&buffer);
  JsonWriter compact(quoting, kCompact);
  write(compact);
  out_.put('"');
}

template <typename AnyJson>
void JsonWriter::value(const AnyJson& json) {
  switch (json.type()) {
    case AnyJson::value_t::object:
      map(
          json.template get_ref<const typename AnyJson::object_t&>(),
          [](const auto& member) -> const std::string& { return member.first; },
          [&](const auto& member) { value(member.second); });
      break;
    case AnyJson::value_t::array:
      list(json.template get_ref<const typename AnyJson::array_t&>(), [&](const AnyJson& item) { value(item); });
      break;
    case AnyJson::value_t::string:
      text(json.template get_ref<const std::string&>());
      break;
    case AnyJson::value_t::binary:
      bytes(json.get_binary());
      break;
    default:
      out_ << json.dump();
  }
}

template void JsonWriter::value(const Json& json);
template void JsonWriter::value(const nlohmann::json& json);

void write_manifest(JsonWriter& writer, const Manifest& manifest) {
  const auto alias_of = [](const Dependency& dependency) -> const std::string& { return dependency.alias; };
  const auto name_of = [](const auto& entry) -> const std::string& { return entry.name; };
  const auto write_use = [&](const Dependency& dependency) {
    dependency.vendored ? writer.value(*dependency.vendored) : writer.text(dependency.text.value_or(""));
  };
  const auto write_atom = [&](const AtomEntry& atom) {
    const auto kind = [&] { writer.text(atom.kind); };
    const auto signature = [&] { writer.text(atom.signature); };
    const auto annotations = [&] { writer.value(atom.annotations); };
    std::vector<JsonWriter::Member> members{{"kind", kind}, {"signature", signature}};
    if (!atom.annotations.empty()) {
      members.push_back({"annotations", annotations});
    }
    writer.object(members);
  };
  const auto write_command = [&](const Command& command) {
    writer.object({{"runner", [&] { writer.text(command.runner); }},
                   {"annotations", [&] { writer.value(command.annotations); }}});
  };
  const auto use = [&] { writer.map(manifest.use, alias_of, write_use); };
  const auto package = [&] { writer.value(manifest.package); };
  const auto atoms = [&] { writer.map(manifest.atoms, name_of, write_atom); };
  const auto commands = [&] { writer.map(manifest.commands, name_of, write_command); };
  const auto bindings = [&] { writer.value(manifest.bindings); };
  const auto entrypoint = [&] { writer.text(manifest.entrypoint.value_or("")); };
  std::vector<JsonWriter::Member> members;
  const auto add = [&](bool is_there, const JsonWriter::Member& member) {
    if (is_there) {
      members.push_back(member);
    }
  };
  add(!manifest.use.empty(), {"use", use});
  add(!manifest.package.empty(), {"package", package});
  add(!manifest.atoms.empty(), {"atoms", atoms});
  add(!manifest.commands.empty(), {"commands", commands});
  add(!manifest.bindings.empty(), {"bindings", bindings});
  add(manifest.entrypoint.has_value(), {"entrypoint", entrypoint});
  writer.object(members);
}

}  // namespace pkgfs::webc
