#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace outrigger::test {

/// An `outriggerd` that serves sockets.
class ServerProcess {
 public:
  /// Starts it with these words after its name, and with these variables beside the environment's;
  /// waits until it listens at so many addresses (by default, those of the words), or has ended.
  /// Its standard input is /dev/null.
  explicit ServerProcess(std::vector<std::string> words, std::vector<std::string> variables = {},
                         std::size_t listeners = 0);
  /// Kills it.
  ~ServerProcess();
  ServerProcess(const ServerProcess&) = delete;
  ServerProcess& operator=(const ServerProcess&) = delete;

  pid_t pid() const { return pid_; }
  /// As they were bound, in the order of the options.
  const std::vector<std::string>& addresses() const { return addresses_; }
  /// The text that the server has written to its standard error.
  std::string log() const;
  /// Waits until the log has this text.
  bool logs(const std::string& text,
            std::chrono::milliseconds patience = std::chrono::seconds(20)) const;

  void signal(int number) const;
  /// The exit code, or 128 + the signal that ended it; -1 if it has not ended within the time.
  int exit_status(std::chrono::milliseconds patience = std::chrono::seconds(30));
  /// A file of /proc/<pid>/.
  std::string proc(const std::string& name) const;

 private:
  void read_log();
  std::vector<std::string> told_addresses() const;

  pid_t pid_ = -1;
  int log_fd_ = -1;
  int status_ = -1;
  std::vector<std::string> addresses_;
  mutable std::mutex mutex_;
  std::string log_;        ///< guarded by mutex_
  bool log_over_ = false;  ///< guarded by mutex_
  std::thread reader_;
};

/// A folder of its own, removed with its contents.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const std::string& path() const { return path_; }
  std::string file(const std::string& name) const { return path_ + "/" + name; }
  /// Writes a file with the mode 0600, and gives its path.
  std::string write(const std::string& name, const std::string& text) const;

 private:
  std::string path_;
};

}  // namespace outrigger::test
