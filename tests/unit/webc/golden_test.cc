// SPDX-License-Identifier: MIT
// Compares every sound fixture with the facts that Wasmer's own crates found in it.
#include <gtest/gtest.h>

#include <map>

#include "core/base/hash.h"
#include "tests/unit/webc/webc_files.h"

namespace pkgfs::webc {
namespace {

namespace fs = std::filesystem;
using test::load;

std::vector<fs::path> containers() {
  std::vector<fs::path> folders = {pkgfs::test::fixtures() / "webc", pkgfs::test::fixtures() / "sources"};
  if (const auto shared = pkgfs::test::shared_fixtures()) {
    folders.push_back(*shared / "third-party");
  }
  std::vector<fs::path> found;
  for (const fs::path& folder : folders) {
    if (!fs::is_directory(folder)) {
      continue;
    }
    for (const auto& entry : fs::directory_iterator(folder)) {
      const bool container = entry.path().extension() == ".webc" || entry.path().extension() == ".wasmer";
      if (container && fs::exists(entry.path().string() + ".json")) {
        found.push_back(entry.path());
      }
    }
  }
  std::sort(found.begin(), found.end());
  return found;
}

class Golden : public testing::TestWithParam<fs::path> {
 protected:
  void SetUp() override {
    container_ = Container::open(load(GetParam()));
    golden_ = pkgfs::test::read_json(GetParam().string() + ".json");
  }
  std::shared_ptr<const Container> container_;
  nlohmann::ordered_json golden_;
};

TEST_P(Golden, Version) {
  EXPECT_EQ(std::to_string(static_cast<int>(container_->version())), golden_["format_version"].get<std::string>());
}

TEST_P(Golden, Manifest) {
  const Manifest& manifest = container_->manifest();
  EXPECT_EQ(manifest.to_json().dump(), golden_["manifest_json"].get<std::string>());
  EXPECT_EQ(to_hex(sha256(container_->manifest_bytes())), golden_["manifest_cbor"]["sha256"].get<std::string>());
  EXPECT_EQ(manifest.entrypoint ? Json(*manifest.entrypoint) : Json(), golden_["entrypoint"]);
  // What we write is what we read.
  EXPECT_EQ(parse_manifest(encode_manifest(manifest.to_json())).to_json(), manifest.to_json());

  ASSERT_EQ(manifest.use.size(), golden_["use"].size());
  for (std::size_t i = 0; i < manifest.use.size(); ++i) {
    const Dependency& dependency = manifest.use[i];
    EXPECT_EQ(dependency.alias, golden_["use"][i]["alias"].get<std::string>());
    const Json& value = golden_["use"][i]["value"];
    EXPECT_EQ(dependency.text.has_value(), value.is_string());
    if (dependency.text) {
      EXPECT_EQ(*dependency.text, value.get<std::string>());
    } else {
      EXPECT_EQ(nlohmann::json(*dependency.vendored), nlohmann::json(value));
    }
  }
}

TEST_P(Golden, Commands) {
  const Manifest& manifest = container_->manifest();
  Json order = Json::array();
  for (const Command& command : manifest.commands) {
    order.push_back(command.name);
  }
  EXPECT_EQ(order, golden_["command_order"]);
  for (const Json& expected : golden_["commands"]) {
    const Command* command = manifest.find_command(expected["name"].get<std::string>());
    ASSERT_NE(command, nullptr);
    EXPECT_EQ(command->runner, expected["runner"].get<std::string>());
    EXPECT_EQ(nlohmann::json(command->annotations), nlohmann::json(expected["annotations"]));
    const auto atom = command_atom(*command);
    Json found;
    if (atom) {
      found = {{"dependency", atom->dependency ? Json(*atom->dependency) : Json()}, {"name", atom->name}};
    }
    EXPECT_EQ(nlohmann::json(found), nlohmann::json(expected["atom"])) << command->name;
  }
}

TEST_P(Golden, FileSystem) {
  const auto fs = container_->manifest().fs();
  ASSERT_EQ(!fs.has_value(), golden_["filesystem"].is_null());
  Json found = Json::array();
  for (const FsEntry& entry : fs.value_or(std::vector<FsEntry>{})) {
    found.push_back({{"from", entry.from ? Json(*entry.from) : Json()},
                     {"mount_path", entry.mount_path},
                     {"original_path", entry.host_path ? Json(*entry.host_path) : Json()},
                     {"volume_name", entry.volume_name}});
  }
  if (fs) {
    EXPECT_EQ(found, golden_["filesystem"]);
  }
  EXPECT_NO_THROW((void)container_->manifest().wapm());
}

TEST_P(Golden, Atoms) {
  const auto atoms = container_->atoms();
  ASSERT_EQ(atoms.size(), golden_["atoms"].size());
  for (std::size_t i = 0; i < atoms.size(); ++i) {
    const Json& expected = golden_["atoms"][i];
    EXPECT_EQ(atoms[i].name, expected["name"].get<std::string>());
    EXPECT_EQ(atoms[i].body.length, expected["len"]);
    EXPECT_EQ(to_hex(sha256(atoms[i].body.bytes())), expected["sha256"].get<std::string>());
    const AtomEntry* entry = container_->manifest().find_atom(atoms[i].name);
    ASSERT_NE(entry, nullptr);
    EXPECT_EQ(entry->signature, expected["signature"].get<std::string>());
    EXPECT_EQ(entry->kind, expected["kind"].get<std::string>());
    EXPECT_EQ(nlohmann::json(entry->annotations), nlohmann::json(expected["annotations"]));
    EXPECT_EQ(container_->find_atom(atoms[i].name), &atoms[i]);
  }
  EXPECT_EQ(container_->find_atom("no such atom"), nullptr);
}

TEST_P(Golden, Volumes) {
  const auto volumes = container_->volumes();
  ASSERT_EQ(volumes.size(), golden_["volumes"].size());
  for (std::size_t i = 0; i < volumes.size(); ++i) {
    const Volume& volume = *volumes[i];
    const Json& expected = golden_["volumes"][i];
    ASSERT_EQ(volume.name(), expected["name"].get<std::string>());
    EXPECT_EQ(container_->find_volume(volume.name()), volumes[i]);
    const auto root = volume.info(kRootRef);
    ASSERT_TRUE(root);
    EXPECT_EQ(root->kind, EntryKind::kDirectory);
    const Json& root_time = expected["root_mtime_ns"];
    EXPECT_EQ(root->modified ? Json(*root->modified * 1'000'000'000) : Json(), root_time);

    const test::Walk walk = test::walk(volume);
    EXPECT_TRUE(walk.eio.empty());
    ASSERT_EQ(walk.entries.size(), expected["entries"].size());
    for (std::size_t j = 0; j < walk.entries.size(); ++j) {
      const Json& entry = expected["entries"][j];
      const EntryInfo& info = walk.entries[j].record.info;
      SCOPED_TRACE(entry["path"].get<std::string>());
      ASSERT_EQ(walk.entries[j].path, entry["path"].get<std::string>());
      const std::string hash = test::hex_of(info.sha256);
      if (container_->version() == Version::kV3) {
        EXPECT_EQ(hash, entry["hash"].get<std::string>());
      }
      EXPECT_EQ(info.modified ? Json(*info.modified * 1'000'000'000) : Json(), entry["mtime_ns"]);
      switch (info.kind) {
        case EntryKind::kDirectory:
          EXPECT_EQ(entry["type"], "dir");
          break;
        case EntryKind::kFile:
          EXPECT_EQ(entry["type"], "file");
          EXPECT_EQ(info.length, entry["len"]);
          EXPECT_EQ(to_hex(sha256(test::body(volume, info))), entry["sha256"].get<std::string>());
          EXPECT_TRUE(hash.empty() || hash == entry["sha256"].get<std::string>());
          break;
        case EntryKind::kSymlink:
          EXPECT_EQ(entry["type"], "symlink");
          EXPECT_EQ(info.target, entry["target"].get<std::string>());
          break;
      }
      const auto again = volume.info(walk.entries[j].record.ref);
      ASSERT_TRUE(again);
      EXPECT_EQ(again->kind, info.kind);
      EXPECT_EQ(again->offset, info.offset);
      EXPECT_EQ(again->length, info.length);
    }
  }
}

Json index_entry(const IndexEntry& entry) {
  return {{"checksum", {{"tag", entry.checksum_tag}, {"value", test::hex_of(test::to_bytes(entry.checksum))}}},
          {"span", {{"len", entry.length}, {"start", entry.start}}}};
}

TEST_P(Golden, Index) {
  const Index* index = container_->index();
  ASSERT_EQ(index == nullptr, container_->version() == Version::kV1);
  if (index == nullptr) {
    return;
  }
  Json volumes = Json::object();
  for (const auto& [name, entry] : index->volumes) {
    volumes[name] = index_entry(entry);
  }
  const Json found = {{"atoms", index_entry(index->atoms)},
                      {"manifest", index_entry(index->manifest)},
                      {"signature", {{"tag", index->signature_tag}, {"value", index->signature}}},
                      {"volumes", volumes}};
  EXPECT_EQ(nlohmann::json(found), nlohmann::json(golden_["index"]));
}

TEST_P(Golden, VerifyAgreesWithTheReference) {
  const auto problems = verify(*container_, VerifyDepth::kContent);
  // The one fixture whose fs annotation names a volume that isn't there, on purpose.
  const bool missing = GetParam().filename() == "volumes-v3.webc";
  if (missing) {
    ASSERT_EQ(problems.size(), 1U);
    EXPECT_NE(problems[0].find("there is no volume"), std::string::npos) << problems[0];
  } else {
    EXPECT_EQ(problems, std::vector<std::string>{});
  }
  EXPECT_EQ(verify(*container_, VerifyDepth::kStructure), problems);
}

INSTANTIATE_TEST_SUITE_P(Fixtures, Golden, testing::ValuesIn(containers()), [](const auto& parameter) {
  std::string name = parameter.param.filename().string();
  for (char& c : name) {
    c = std::isalnum(static_cast<unsigned char>(c)) != 0 ? c : '_';
  }
  return name;
});

TEST(GoldenFixtures, AreThere) {
  EXPECT_GE(containers().size(), 70U);
  if (!pkgfs::test::shared_fixtures()) {
    GTEST_SKIP() << "the third-party packages are not here";
  }
}

TEST(Container, Version1LooksForItsOwnVolumesFirst) {
  const auto container = Container::open(load(pkgfs::test::fixtures() / "webc/bundle-v1.webc"));
  const auto extra = container->find_volume("extra");
  ASSERT_NE(extra, nullptr);
  EXPECT_EQ(extra->name(), "acme/bundle@1.0.0/extra");
  EXPECT_EQ(container->find_volume("acme/inner@2.0.0/atom")->name(), "acme/inner@2.0.0/atom");
  EXPECT_EQ(container->find_volume("atom"), nullptr);
}

TEST(Container, TellsWhatAFileIs) {
  const auto kind = [](std::string_view text) {
    return detect_format(std::as_bytes(std::span(text.data(), text.size())));
  };
  using namespace std::string_view_literals;
  EXPECT_EQ(kind("\0webc003"sv), FileFormat::kWebc);
  EXPECT_EQ(kind("\x1f\x8b\x08"sv), FileFormat::kTarball);
  EXPECT_EQ(kind("\0asm\1\0\0\0"sv), FileFormat::kOther);
  EXPECT_EQ(kind(""sv), FileFormat::kOther);
  EXPECT_EQ(kind("\0web"sv), FileFormat::kOther);
  const auto refusal = [](std::string_view text) -> std::string {
    try {
      (void)Container::open(test::memory("x", test::to_bytes(text)));
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
      return error.message();
    }
    return "<opens>";
  };
  EXPECT_EQ(refusal("\0asm\1\0\0\0"sv), "x: is a WebAssembly module, not a package");
  EXPECT_EQ(refusal("PK\3\4"sv), "x: is a ZIP archive, not a package");
  EXPECT_EQ(refusal("\x28\xb5\x2f\xfd"sv), "x: is zstd-compressed data, not a package");
  EXPECT_EQ(refusal("!<arch>\ndebian-binary"sv), "x: is a Debian package, not a package");
}

}  // namespace
}  // namespace pkgfs::webc
