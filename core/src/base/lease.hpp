#pragma once
// The right to work on something, told to all hosts by a file.
#include <dtk/api.hpp>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

namespace dtk {

/// After so many seconds without a touch a lease counts as abandoned: 60, or $DTK_LEASE_SECONDS. The owner touches it
/// twelve times as often.
DTK_API double lease_seconds();

/// Made anew, so that one gets it, touched while the work goes on, and taken over when its owner has certainly ended
/// (of which only processes of the same PID namespace on the same start of the same host can be certain) or has not
/// touched it for long.
class DTK_API Lease {
 public:
    /// → nothing where somebody else has it.
    static std::optional<Lease> take(const std::filesystem::path& file);
    /// Does somebody have it who lives, as far as can be told from here?
    static bool held(const std::filesystem::path& file);
    /// Who has it, in words for a message.
    static std::string holder(const std::filesystem::path& file);
    Lease(Lease&& other) noexcept;
    Lease& operator=(Lease&& other) noexcept;
    ~Lease();
    /// Says that the owner lives. One that was removed is put back. → false where the lease has been taken over.
    bool touch() const;

 private:
    Lease(std::filesystem::path file, std::string mark) : file_(std::move(file)), mark_(std::move(mark)) {}
    std::filesystem::path file_;
    std::string mark_;
};

/// A lease that a thread of its own touches for as long as this lives. Where it is taken over, because this process was
/// stopped for longer than lease_seconds(), the process says so and ends at once with exit code 1: the work is
/// another's.
class DTK_API KeptLease {
 public:
    explicit KeptLease(Lease lease);
    KeptLease(KeptLease&&) noexcept;
    KeptLease& operator=(KeptLease&&) noexcept;
    ~KeptLease();

 private:
    struct Keeper;
    std::unique_ptr<Keeper> keeper_;
};

}  // namespace dtk
