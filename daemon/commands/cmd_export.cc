// SPDX-License-Identifier: MIT
#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <filesystem>
#include <optional>
#include <ostream>
#include <utility>

#include "core/base/log.h"
#include "core/base/system_limits.h"
#include "core/export/erofs_writer.h"
#include "core/export/oci_image.h"
#include "core/export/output_file.h"
#include "core/export/tar_writer.h"
#include "daemon/cli/logging.h"
#include "daemon/commands/commands.h"
#include "daemon/commands/squashfs.h"
#include "daemon/commands/staging.h"
#include "daemon/packages/interrupt.h"
#include "daemon/packages/open_tree.h"
#include "daemon/packages/own_source.h"

namespace pkgfs {

namespace {

/// Standard output.
class StreamSink final : public ByteSink {
 public:
  explicit StreamSink(const Io& io) : io_(io) {}
  void write(std::span<const std::byte> bytes) override {
    io_.out->write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    if (io_.out->fail()) {
      throw Error(ErrorCode::kIo, "writing to standard output failed");
    }
  }

 private:
  const Io& io_;
};

/// `directory` is for temporary files; empty: $TMPDIR.
ImageOptions image_options(const Options& options, std::string directory) {
  const std::size_t slash = options.platform.find('/');
  return {.os = options.platform.substr(0, slash),
          .architecture = options.platform.substr(slash + 1),
          .commands_dir = options.tree.commands_dir,
          .directory = std::move(directory)};
}

/// The directory that `path` is or will be in.
std::string parent_of(const std::string& path) {
  const std::filesystem::path parent = std::filesystem::path(path + "/").parent_path().parent_path();
  return parent.empty() ? "." : parent.string();
}

bool is_image(ExportFormat format) { return format == ExportFormat::kSquashfs || format == ExportFormat::kErofs; }

/// Whether OUT is to be a directory.
bool writes_directory(const Options& options, const std::string& out) {
  return options.format == ExportFormat::kOci && out != "-" && !out.ends_with(".tar");
}

/// Refuses an OUT that can't be written, before packages are downloaded.
void check_out(const Options& options, const std::string& out) {
  if (out == "-") {
    if (is_image(options.format)) {
      throw Error(ErrorCode::kUsage, "an image of a file system can't be written to standard output: name a file");
    }
  } else if (writes_directory(options, out)) {
    Staging::check(out, options.force);
  } else {
    OutputFile::check(out, options.force);
  }
}

/// Writes a form that is a stream of bytes. `directory` is for temporary files; empty: $TMPDIR.
void write_stream(const PackageTree& tree, const Options& options, ByteSink& out, const std::string& directory) {
  switch (options.format) {
    case ExportFormat::kTar:
      write_tar(*tree.file_system, out);
      return;
    case ExportFormat::kOci:
      OciImage(tree, image_options(options, directory), LayerForm::kGzip).write_layout(out);
      return;
    case ExportFormat::kDocker:
      OciImage(tree, image_options(options, directory), LayerForm::kTar).write_docker_archive(out);
      return;
    case ExportFormat::kSquashfs:
    case ExportFormat::kErofs:
      throw Error(ErrorCode::kInternal, "an image of a file system isn't a stream of bytes");
  }
}

void write_file(const PackageTree& tree, const Options& options, const std::string& path) {
  OutputFile file(path, options.force);
  if (options.format == ExportFormat::kSquashfs) {
    write_squashfs(*tree.file_system, file.fd(), path);
  } else if (options.format == ExportFormat::kErofs) {
    write_erofs(*tree.file_system, file.fd(), path, parent_of(path));
  } else {
    FileSink sink(file.fd(), path);
    write_stream(tree, options, sink, parent_of(path));
    sink.flush();
  }
  throw_if_cancelled();
  file.publish();
}

/// Writes an OCI image layout. Files for the layers are made on the same disk.
void write_directory(const PackageTree& tree, const Options& options, const std::string& path) {
  CancelFlag cancel;
  std::optional<Staging> staging;  // cleans up when the guard is gone: signals end the process again
  const InterruptGuard guard(cancel);
  staging.emplace(path, options.force);
  const std::string disk = std::filesystem::is_directory(path) ? path : parent_of(path);
  const OciImage image(tree, image_options(options, disk), LayerForm::kGzip);
  const UniqueFd directory = staging->open();
  image.write_layout(directory.get(), path);
  // A new OUT gets the mode of any new directory, which depends on the umask. Until now, only this user could enter.
  struct stat made{};
  if (::fstatat(directory.get(), "blobs", &made, AT_SYMLINK_NOFOLLOW) != 0 ||
      ::fchmod(directory.get(), made.st_mode & 07777U) != 0) {
    throw system_error("Unable to make the directory \"" + path + "\"", errno);
  }
  staging->publish(cancel);
}

}  // namespace

int cmd_export(const std::vector<std::string>& args, const Io& io) {
  Options options = parse_options(CommandId::kExport, args, 2, 2);
  set_log_level(options.log);
  options.tree.lazy = Lazy::kOff;  // everything is read: first all of it is compared with its hash
  options.tree.complete_begun = true;
  const std::string& out = options.operands[1];
  check_out(options, out);
  raise_open_files();  // an export needs a descriptor for each package
  const OpenedTree opened = open_tree(options.operands[0], options.tree, io);
  if (out == "-") {
    CancelFlag cancel;
    const InterruptGuard guard(cancel);
    StreamSink sink(io);
    write_stream(opened.tree, options, sink, "");
    return 0;
  }
  refuse_own_source(opened.tree, out);
  if (writes_directory(options, out)) {
    write_directory(opened.tree, options, out);
  } else {
    CancelFlag cancel;
    const InterruptGuard guard(cancel);
    write_file(opened.tree, options, out);
  }
  log::info("wrote \"{}\"", out);
  return 0;
}

}  // namespace pkgfs
