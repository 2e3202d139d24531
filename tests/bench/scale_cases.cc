// SPDX-License-Identifier: MIT
#include "tests/bench/scale_cases.h"

#include <fcntl.h>

#include <optional>
#include <sstream>
#include <stdexcept>
#include <utility>

#include <nlohmann/json.hpp>

#include "core/base/hash.h"
#include "core/base/unique_fd.h"
#include "core/resolve/lock_file.h"
#include "core/vfs/walk.h"
#include "core/webc/writer.h"
#include "daemon/packages/open_tree.h"

namespace pkgfs::bench {
namespace {

namespace fs = std::filesystem;
using webc::Json;
using webc::WriterNode;

/// A package that is being made. Appends to its lists, so that making one takes no longer than its size.
class Made {
 public:
  explicit Made(webc::Version version = webc::Version::kV3) : version_(version) {}

  Made& mount(const std::string& path, const std::string& volume, const std::string& source = "") {
    fs_.push_back({{"from", nullptr}, {"volume_name", volume}, {"mount_path", path}});
    if (!source.empty()) {
      fs_.back()["host_path"] = source;
    }
    return *this;
  }
  Made& mount_of(const std::string& alias, const std::string& path, const std::string& volume) {
    mount(path, volume);
    fs_.back()["from"] = alias;
    return *this;
  }
  Made& use(const std::string& alias, const std::string& specifier) {
    add(use_, alias, specifier);
    return *this;
  }
  Made& command(const std::string& name, bool broken) {
    add(commands_, name, {{"runner", "https://webc.org/runner/wasi"}, {"annotations", {{"atom", {{"name", name}}}}}});
    if (!broken) {
      add(entries_, name, {{"kind", "https://webc.org/kind/wasm"}, {"signature", webc::atom_signature(sha256(name))}});
      atoms_.push_back(name);
    }
    return *this;
  }
  Made& volume(const std::string& name, WriterNode root) {
    volumes_.emplace_back(name, std::move(root));
    return *this;
  }

  void write(const fs::path& path, const std::string& name, const std::string& version) const {
    Json manifest;
    manifest["package"]["wapm"] = {{"name", name}, {"version", version}, {"description", ""}};
    manifest["package"]["fs"] = fs_;
    manifest["use"] = use_;
    manifest["atoms"] = entries_;
    manifest["commands"] = commands_;
    webc::Writer writer(version_, std::move(manifest));
    for (const std::string& atom : atoms_) {
      writer.add_atom(atom, atom);
    }
    for (const auto& [volume, root] : volumes_) {
      writer.add_volume(volume, root);
    }
    fs::create_directories(path.parent_path());
    const UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    if (!fd) {
      throw std::runtime_error("can't write " + path.string());
    }
    (void)writer.write(fd.get());
  }

 private:
  static void add(Json& map, const std::string& key, Json value) {
    using Members = std::vector<Json::object_t::value_type, Json::object_t::allocator_type>;
    static_cast<Members&>(map.get_ref<Json::object_t&>()).emplace_back(key, std::move(value));
  }

  webc::Version version_;
  Json fs_ = Json::array();
  Json use_ = Json::object();
  Json commands_ = Json::object();
  Json entries_ = Json::object();
  std::vector<std::string> atoms_;
  std::vector<std::pair<std::string, WriterNode>> volumes_;
};

/// Names of one length, in order.
std::string numbered(const std::string& prefix, std::size_t number) {
  return prefix + std::to_string(100'000 + number);
}

WriterNode file(std::string name) {
  return {.name = std::move(name), .kind = webc::EntryKind::kFile, .content = std::string("x")};
}

WriterNode directories(std::size_t count) {
  WriterNode root;
  for (std::size_t i = 0; i < count; ++i) {
    root.children.push_back({.name = numbered("d", i), .children = {file("f")}});
  }
  return root;
}

WriterNode chain(std::size_t depth) {
  WriterNode node{.children = {file("f")}};
  for (std::size_t i = 0; i < depth; ++i) {
    WriterNode parent;
    parent.children.push_back(std::move(node));
    parent.children.front().name = "d";
    node = std::move(parent);
  }
  return node;
}

/// What a mount, `tree`, `ls` and `verify` do: opens the package, checks it and visits every entry.
std::function<void()> visit(std::string package, std::string registry = "") {
  return [package = std::move(package), registry = std::move(registry)] {
    TreeFlags flags;
    flags.network.offline = true;
    if (!registry.empty()) {
      flags.network.registries = {registry};
    }
    std::ostringstream unused;
    const Io io{.out = &unused, .err = &unused, .environment = [](const char*) { return std::nullopt; }};
    const OpenedTree opened = open_tree(package, flags, io);
    for (vfs::TreeWalk walk(*opened.tree.file_system, opened.tree.file_system->root()); walk.next();) {
    }
    if (opened.root->container() != nullptr) {
      (void)webc::verify(*opened.root->container(), webc::VerifyDepth::kStructure);
    }
  };
}

using Fill = std::function<void(Made& made, std::size_t size)>;

/// A package that `fill` fills.
ScaleCase package(std::string name, std::size_t once, std::size_t twice, Fill fill,
                  webc::Version version = webc::Version::kV3) {
  return {std::move(name), once, twice, [fill = std::move(fill), version](const fs::path& place, std::size_t size) {
            Made made(version);
            fill(made, size);
            made.write(place / "made.webc", "bench/made", "1.0.0");
            return visit((place / "made.webc").string());
          }};
}

void add_mapping_cases(std::vector<ScaleCase>& cases) {
  // The bytes of the paths grow with the square of their count.
  cases.push_back(package("mappings, nested", 120, 170, [](Made& made, std::size_t size) {
    std::string path;
    for (std::size_t i = 0; i < size; ++i) {
      made.mount(path += "/d", "v");
    }
    made.volume("v", chain(size));
  }));
  cases.push_back(package("mappings, the same", 1'000, 2'000, [](Made& made, std::size_t size) {
    for (std::size_t i = 0; i < size; ++i) {
      made.mount("/m", "v");
    }
    made.volume("v", directories(size));
  }));
  cases.push_back(package("mappings, different", 500, 1'000, [](Made& made, std::size_t size) {
    for (std::size_t i = 0; i < size; ++i) {
      made.mount(numbered("/m", i), "v");
    }
    made.volume("v", directories(1));
  }));
  cases.push_back(package(
      "mappings of many directories over each other", 400, 800,
      [](Made& made, std::size_t size) {
        for (std::size_t i = 0; i < size; ++i) {
          made.mount("/", "v", numbered("/d", i)).mount(numbered("/m", i), "v", numbered("/d", i));
        }
        made.volume("v", directories(size));
      },
      webc::Version::kV2));
  cases.push_back(package("mount depth", 100, 200, [](Made& made, std::size_t size) {
    for (std::size_t i = 0; i < 20; ++i) {
      std::string path = numbered("/m", i);
      while (path.size() < 8 + 2 * size) {
        path += "/d";
      }
      made.mount(path, "v");
    }
    made.volume("v", chain(size));
  }));
}

void add_content_cases(std::vector<ScaleCase>& cases) {
  cases.push_back(package("commands", 500, 1'000, [](Made& made, std::size_t size) {
    for (std::size_t i = 0; i < size; ++i) {
      made.command(numbered("c", i), false);
    }
    made.mount("/", "v").volume("v", {.children = {{.name = "bin", .children = directories(size).children}}});
  }));
  cases.push_back(package("commands, broken", 1'000, 2'000, [](Made& made, std::size_t size) {
    for (std::size_t i = 0; i < size; ++i) {
      made.command(numbered("c", i), true);
    }
  }));
  cases.push_back(package("volumes", 300, 600, [](Made& made, std::size_t size) {
    for (std::size_t i = 0; i < size; ++i) {
      made.mount("/", numbered("v", i)).volume(numbered("v", i), {.children = {file(numbered("f", i))}});
    }
  }));
  cases.push_back(package("directories", 1'000, 2'000,
                          [](Made& made, std::size_t size) { made.mount("/", "v").volume("v", directories(size)); }));
  cases.push_back(package("directories, nested", 600, 1'200,
                          [](Made& made, std::size_t size) { made.mount("/", "v").volume("v", chain(size)); }));
  cases.push_back(package("entries of a directory", 1'500, 3'000, [](Made& made, std::size_t size) {
    WriterNode root;
    for (std::size_t i = 0; i < size; ++i) {
      root.children.push_back(file(numbered("f", i)));
    }
    made.mount("/", "v").volume("v", std::move(root));
  }));
  cases.push_back(package("links", 1'000, 2'000, [](Made& made, std::size_t size) {
    WriterNode root = chain(size / 4);
    WriterNode* deepest = &root;
    while (deepest->children.front().kind == webc::EntryKind::kDirectory) {
      deepest = &deepest->children.front();
    }
    for (std::size_t i = 0; i < size; ++i) {
      deepest->children.push_back({.name = numbered("l", i), .kind = webc::EntryKind::kSymlink, .target = "../d/f"});
    }
    made.mount("/", "v").volume("v", std::move(root));
  }));
}

std::string registry_of(const fs::path& place) { return (place / "registry").string(); }

/// A package that shows `count` others, eight below each other each time.
void publish_many(const fs::path& place, std::size_t count) {
  Made root;
  std::string path;
  for (std::size_t i = 0; i < count; ++i) {
    const std::string name = numbered("p", i);
    Made().volume("v", directories(1)).write(place / "registry/bench" / name / "1.0.0.webc", "bench/" + name, "1.0.0");
    root.use(name, "bench/" + name + "@1.0.0");
    path = i % 8 == 0 ? numbered("/g", i / 8) : path + "/d";
    root.mount_of(name, path, "v");
  }
  root.write(place / "registry/bench/root/1.0.0.webc", "bench/root", "1.0.0");
}

void add_registry_cases(std::vector<ScaleCase>& cases) {
  cases.push_back({"packages", 40, 80, [](const fs::path& place, std::size_t size) {
                     publish_many(place, size);
                     return visit("bench/root", registry_of(place));
                   }});
  cases.push_back({"versions in a registry", 100, 200, [](const fs::path& place, std::size_t size) {
                     for (std::size_t i = 0; i < size; ++i) {
                       const std::string version = "1.0." + std::to_string(i);
                       Made()
                           .mount("/", "v")
                           .volume("v", directories(1))
                           .write(place / "registry/bench/made" / (version + ".webc"), "bench/made", version);
                     }
                     return visit("bench/made@^1", registry_of(place));
                   }});
  cases.push_back({"entries of a lock file", 300, 600, [](const fs::path&, std::size_t size) {
                     LockFile lock;
                     std::vector<std::optional<PackageInfo>> manifests;
                     for (std::size_t i = 0; i < size; ++i) {
                       PackageInfo info{NamedId{"bench/" + numbered("p", i), Version::parse("1.0.0")}, {}, {}, {}, {}};
                       std::vector<std::string> ids;
                       for (std::size_t next = i + 1; next < size && i == 0; ++next) {
                         const std::string id = "bench/" + numbered("p", next) + "@1.0.0";
                         info.dependencies.push_back({numbered("p", next), PackageSpecifier::parse(id)});
                         ids.push_back(id);
                       }
                       DistributionInfo dist{"https://example.com/p.webc", {}, sha256(numbered("p", i))};
                       manifests.emplace_back(info);
                       lock.packages.push_back({{std::move(info), std::move(dist)}, std::move(ids)});
                     }
                     return std::function<void()>([text = print_lock(lock), manifests = std::move(manifests)] {
                       LockFile parsed = parse_lock(text);
                       for (std::size_t i = 0; i < manifests.size(); ++i) {
                         confirm(parsed, i, manifests[i]);
                       }
                       LockSource source(parsed);
                       const Resolution resolution = resolve(parsed.packages.front().summary.pkg, source);
                       if (resolution.order.size() != parsed.packages.size()) {
                         throw std::runtime_error("the lock file lost a package");
                       }
                     });
                   }});
}

}  // namespace

std::vector<ScaleCase> scale_cases() {
  std::vector<ScaleCase> cases;
  add_mapping_cases(cases);
  add_content_cases(cases);
  add_registry_cases(cases);
  return cases;
}

}  // namespace pkgfs::bench
