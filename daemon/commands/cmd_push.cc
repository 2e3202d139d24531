// SPDX-License-Identifier: MIT
#include <fcntl.h>
#include <sys/stat.h>

#include <map>
#include <set>
#include <utility>

#include "core/base/files.h"
#include "core/base/log.h"
#include "core/cache/file_hash.h"
#include "core/oci/repository.h"
#include "core/source/container_summary.h"
#include "daemon/cli/exit_code.h"
#include "daemon/cli/json_output.h"
#include "daemon/cli/logging.h"
#include "daemon/cli/text_writer.h"
#include "daemon/commands/commands.h"
#include "daemon/packages/artifact.h"
#include "daemon/packages/open_tree.h"

namespace pkgfs {
namespace {

/// A container that is to be in the artifact.
struct PushedContainer {
  std::string path;
  UniqueFd file;
  oci::Descriptor descriptor;
  std::string from;  // the other repository of the registry that has it; empty: none is known
};

/// The repository from which the registry of `target` can take the container of a package; empty if the package comes
/// from elsewhere.
std::string other_repository(const DistributionInfo& dist, const oci::Reference& target) {
  if (!dist.registry || !oci::Reference::is_one(*dist.registry)) {
    return {};
  }
  const oci::Reference source = oci::Reference::parse(*dist.registry);
  return source.registry() == target.registry() && !source.is_same_repository(target) ? source.repository() : "";
}

/// The file name of a container, for users of other programs: `acme_app-1.2.3.webc`. Empty for a package without a
/// name.
std::string container_title(const PackageId& id) {
  const NamedId* const named = id.named();
  if (named == nullptr) {
    return {};
  }
  std::string title = named->full_name + "-" + named->version.to_string() + ".webc";
  for (char& c : title) {
    c = c == '/' ? '_' : c;
  }
  return title;
}

/// Opens the container of a package, which is in a cache or elsewhere on this machine.
PushedContainer open_pushed(const DependencyGraph::Node& node, const std::string& path, const oci::Reference& target) {
  const std::string id = node.pkg.id.to_string();
  if (!has_container_magic(path)) {
    throw Error(ErrorCode::kUnsupported,
                {"The package \"" + id + "\" at \"" + path + "\" can't be pushed: it isn't a container",
                 "\"pkgfs pack DIRECTORY -o FILE.webc\" makes one from a directory with a wasmer.toml"});
  }
  PushedContainer blob{.path = path,
                       .file = UniqueFd(::open(path.c_str(), O_RDONLY | O_CLOEXEC)),
                       .descriptor = {},
                       .from = other_repository(*node.dist, target)};
  struct stat status{};
  if (!blob.file || ::fstat(blob.file.get(), &status) != 0) {
    throw system_error("Unable to open the package \"" + path + "\"", errno);
  }
  blob.descriptor = {.media_type = std::string(oci::kContainerType),
                     .digest = node.dist->webc_sha256 ? *node.dist->webc_sha256
                                                      : hash_file("/proc/self/fd/" + std::to_string(blob.file.get())),
                     .size = static_cast<std::uint64_t>(status.st_size),
                     .title = container_title(node.pkg.id)};
  return blob;
}

/// The containers of all packages of `resolution`, each once, the root's first. Sets the hashes that `resolution`
/// lacks.
std::vector<PushedContainer> open_containers(PackageOpener& opener, Resolution& resolution,
                                             const oci::Reference& target) {
  std::vector<PackageSummary> summaries;
  for (const auto& node : resolution.graph.nodes) {
    summaries.push_back({.pkg = node.pkg, .dist = node.dist.value()});
  }
  const auto packages = opener.loader().load_all(summaries);
  std::vector<PushedContainer> blobs;
  std::set<Sha256> known;
  for (auto& node : resolution.graph.nodes) {
    const auto path = opener.loader().location({.pkg = node.pkg, .dist = *node.dist});
    if (!path) {
      throw Error(ErrorCode::kCorrupt, "The package \"" + node.pkg.id.to_string() +
                                           "\" can't be pushed: its download has another hash than announced");
    }
    PushedContainer blob = open_pushed(node, *path, target);
    node.dist->webc_sha256 = blob.descriptor.digest;
    if (known.insert(blob.descriptor.digest).second) {
      blobs.push_back(std::move(blob));
    }
  }
  return blobs;
}

/// What was sent, for the output.
struct PushedBytes {
  std::size_t blobs = 0;
  std::size_t mounted = 0;  // blobs that the registry took from another repository
  std::uint64_t bytes = 0;
  bool manifest = false;

  void add(oci::Pushed pushed, std::uint64_t size) {
    const bool was_sent = pushed == oci::Pushed::kSent;
    blobs += was_sent ? 1 : 0;
    mounted += pushed == oci::Pushed::kMounted ? 1 : 0;
    bytes += was_sent ? size : 0;
  }
};

/// For the log.
const char* text_of(oci::Pushed pushed) {
  switch (pushed) {
    case oci::Pushed::kKnown:
      return "the repository has";
    case oci::Pushed::kMounted:
      return "the registry took from its other repository";
    case oci::Pushed::kSent:
      break;
  }
  return "sent";
}

}  // namespace

int cmd_push(const std::vector<std::string>& args, const Io& io) {
  const Options options = parse_options(CommandId::kPush, args, 2, 2);
  set_log_level(options.log);
  const oci::Reference target = oci::Reference::parse(options.operands[1]);
  if (target.digest()) {
    throw Error(ErrorCode::kUsage, "\"" + options.operands[1] +
                                       "\" has a digest, which follows from the package: "
                                       "name a tag, or none for \"" +
                                       std::string(oci::kDefaultTag) + "\"");
  }
  if (options.tree.network.offline) {
    throw Error(ErrorCode::kUsage, "push needs the network, and --offline forbids it");
  }
  TreeFlags flags = options.tree;
  flags.lazy = Lazy::kOff;
  flags.complete_begun = true;
  PackageOpener opener(flags, io);
  Resolution resolution = opener.resolve_tree(opener.find(options.operands[0]));
  const std::vector<PushedContainer> blobs = open_containers(opener, resolution, target);

  const PackageId& id = resolution.graph.nodes.front().pkg.id;
  const std::string lock = artifact_lock(resolution);
  oci::Manifest manifest{
      .lock = {.media_type = std::string(oci::kLockType), .digest = sha256(lock), .size = lock.size()},
      .containers = {},
      .id = id.to_string(),
      .name = id.named() != nullptr ? id.named()->full_name : "",
      .version = id.named() != nullptr ? id.named()->version.to_string() : ""};
  for (const PushedContainer& blob : blobs) {
    manifest.containers.push_back(blob.descriptor);
  }
  const std::string text = oci::print_manifest(manifest);
  if (text.size() > oci::kManifestBytes) {
    throw Error(ErrorCode::kUnsupported,
                "The package \"" + id.to_string() + "\" has too many dependencies for a manifest");
  }

  opener.use_repository(target, true);
  const std::unique_ptr<oci::Repository> repository = opener.repository(target);
  PushedBytes sent;
  for (const PushedContainer& blob : blobs) {
    const oci::Pushed pushed = repository->push_blob(
        blob.descriptor.digest, {}, HttpUpload{.fd = blob.file.get(), .size = blob.descriptor.size, .name = blob.path},
        blob.from);
    log::info("{} {}: {}", text_of(pushed), oci::digest_text(blob.descriptor.digest), blob.path);
    sent.add(pushed, blob.descriptor.size);
  }
  // An artifact with the same root has the same lock file.
  sent.add(repository->push_blob(manifest.lock.digest, lock, std::nullopt, blobs.front().from), lock.size());
  sent.manifest = repository->push_manifest(text);
  sent.bytes += sent.manifest ? text.size() : 0;

  const std::string name = target.at(sha256(text));
  if (options.json) {
    print_json(*io.out, {{"reference", name},
                         {"tag", target.tag()},
                         {"package", id.to_string()},
                         {"containers", blobs.size()},
                         {"mounted", sent.mounted},
                         {"sent", {{"blobs", sent.blobs}, {"manifest", sent.manifest}, {"bytes", sent.bytes}}}});
  } else {
    TextWriter(*io.out) << name << '\n';
  }
  return kExitOk;
}

}  // namespace pkgfs
