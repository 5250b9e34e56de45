#pragma once
// Several processes that train one network together, each a share of every batch: what they add up, what they agree on,
// and how they learn that one of them has ended. By LibTorch's c10d, whose headers stay inside.
#include <filesystem>
#include <memory>
#include <string>

#include <dtk/api.hpp>
#include <dtk/tensor.hpp>

namespace dtk {

/// Process 0 has ended with that code, and has said why if there was anything to say.
struct LeaderDone {
    int code;
};

/// All calls but those about leaving are made by all processes, in the same order; one that waits for the others throws
/// when one of them ends: Interrupted, UserError, PluginError or Error as that one, or LeaderDone.
class DTK_API Processes {
 public:
    /// Those that a launcher has started together with this one; null where it is alone. `folder`: where they meet in a
    /// file, if the launcher names no host. They are never taken apart: a process ends with them. Errors: UserError
    /// where this build cannot, Error where they do not find one another within two minutes.
    static Processes* meet(const std::filesystem::path& folder);
    /// Lines for `dtk doctor`.
    static std::string report();

    virtual std::int64_t rank() const = 0;
    virtual std::int64_t size() const = 0;
    /// Process 0 has the run's folder; it alone writes, shows progress, samples and measures.
    bool leads() const { return rank() == 0; }
    /// "process 2 of 4"
    std::string name() const { return name(rank()); }
    std::string name(std::int64_t rank) const;

    /// x becomes the sum of those of all processes, with the same bits everywhere. On the CPU, contiguous.
    virtual void sum(Tensor& x) = 0;
    /// Those of all processes. x: [...] → [size, ...]
    virtual Tensor gather(const Tensor& x) = 0;
    /// What process 0 says.
    virtual std::string told(const std::string& text) = 0;
    /// Until all have come here.
    virtual void wait() = 0;

    /// Has another process ended, and did it say so? One that did not was killed.
    enum class Lost { none, left, killed };
    virtual Lost lost() const = 0;
    /// Was that process 0?
    virtual bool lost_leader() const = 0;
    /// Throws what wait() would.
    virtual void check() const = 0;
    /// To be called last, whatever happened: tells the others. Process 0 then ends; the others wait until it has
    /// written what there is to write.
    virtual void leave(int code, const std::string& text) = 0;

 protected:
    ~Processes() = default;
};

}  // namespace dtk
