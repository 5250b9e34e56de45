#pragma once
// A process that works on one task of a study.
#include <sys/types.h>

#include <cstdint>
#include <string>
#include <utility>
#include <variant>

#include "base/engine.hpp"
#include "base/lease.hpp"
#include "study/study.hpp"

namespace dtk {

/// What is to be done for a task: a run, or samples of one.
using Job = std::variant<RunRequest, SampleRequest>;

class Worker {
 public:
    /// `program`: dtk's. `engine`: what does the job in a child of this process, where it has no other threads; null: a
    /// program of its own does.
    Worker(const Task& task, Lease lease, const Job& job, const std::string& program, Engine* engine,
           const std::filesystem::path& log, std::string gpu);
    Worker(Worker&& other) noexcept
        : task(other.task),
          gpu(std::move(other.gpu)),
          lease_(std::move(other.lease_)),
          child_(std::exchange(other.child_, 0)),
          status_(other.status_),
          lost_(other.lost_),
          most_(other.most_) {}
    Worker& operator=(Worker&& other) noexcept {
        std::swap(task, other.task);
        std::swap(gpu, other.gpu);
        std::swap(lease_, other.lease_);
        std::swap(child_, other.child_);
        std::swap(status_, other.status_);
        std::swap(lost_, other.lost_);
        std::swap(most_, other.most_);
        return *this;
    }
    ~Worker();

    bool ended();
    /// Bytes it holds now; the most that it ever held once it has ended.
    std::uint64_t memory() const;
    /// How it ended, for one that had no time to say why.
    std::string ending() const;
    bool lost() const { return lost_; }
    void interrupt() const;
    /// Another process has taken the work over, believing this one dead: then it is the other's.
    void keep();

    const Task* task;
    std::string gpu;  ///< the one it sees; empty: all there are

 private:
    Lease lease_;
    pid_t child_ = 0;
    int status_ = 0;
    bool lost_ = false;  ///< to another process
    std::uint64_t most_ = 0;
};

}  // namespace dtk
