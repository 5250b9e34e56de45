#include "engine/processes.hpp"

#include <fmt/format.h>

#include "base/engine.hpp"
#include "base/launch.hpp"
#include "base/owner.hpp"
#include "base/progress.hpp"
#include "base/stop.hpp"
#include "base/threads.hpp"

#ifdef USE_C10D_GLOO
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include <dtk/plugin.hpp>

#include <torch/csrc/distributed/c10d/FileStore.hpp>
#include <torch/csrc/distributed/c10d/HashStore.hpp>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>
#endif

namespace dtk {

namespace fs = std::filesystem;

std::string Processes::name(std::int64_t rank) const { return fmt::format("process {} of {}", rank, size()); }

#ifndef USE_C10D_GLOO

Processes* Processes::meet(const fs::path&) {
    const auto start = launch();
    if (!start) return nullptr;
    throw UserError(fmt::format("{} started {} processes, and this dtk was built without Gloo", start->by, start->size),
                    "install gloo's headers (Debian: libgloo-dev) and build again; or start one process");
}

std::string Processes::report() {
    return "processes  one: built without Gloo, whose headers were not there (Debian: libgloo-dev)\n";
}

#else

namespace {

using c10d::ProcessGroupGloo;
using std::chrono::milliseconds, std::chrono::seconds;

constexpr auto to_meet = seconds(120);
constexpr auto without_end = std::chrono::hours(24 * 365);
constexpr auto between_pulses = milliseconds(200);
/// After somebody has ended, whoever does not end by himself is ended after so long.
constexpr auto to_end = seconds(30);

/// After so many seconds without a word a process counts as dead: $DTK_SILENCE_SECONDS, or 40. The others give process
/// 0 a little more, so that it can tell them who was silent.
double silence() {
    const char* said = std::getenv("DTK_SILENCE_SECONDS");
    const double seconds = said ? std::atof(said) : 0;
    return seconds > 0 ? seconds : 40;
}

c10::intrusive_ptr<ProcessGroupGloo> group(const c10::intrusive_ptr<c10d::Store>& store, const std::string& name,
                                           std::int64_t rank, std::int64_t size,
                                           const std::shared_ptr<gloo::transport::Device>& device) {
    auto options = ProcessGroupGloo::Options::create(to_meet);
    options->devices.push_back(device);
    options->threads = 1;
    return c10::make_intrusive<ProcessGroupGloo>(c10::make_intrusive<c10d::PrefixStore>(name, store),
                                                 static_cast<int>(rank), static_cast<int>(size), options);
}

/// The network that Gloo goes by: the interface in $GLOO_SOCKET_IFNAME, the machine itself, or what its name stands
/// for.
std::shared_ptr<gloo::transport::Device> device_for(bool one_machine) {
    if (const char* interface = std::getenv("GLOO_SOCKET_IFNAME"); interface && *interface)
        return ProcessGroupGloo::createDeviceForInterface(interface);
    return one_machine ? ProcessGroupGloo::createDeviceForHostname("127.0.0.1")
                       : ProcessGroupGloo::createDefaultDevice();
}

/// How a process has ended.
struct Ended {
    std::int64_t rank = -1;
    int code = killed;
    std::string text;
    static constexpr int killed = -1;
};

/// What two processes say to each other several times a second.
struct Pulse {
    std::int32_t signal = 0;
    std::int32_t rank = -1;  ///< of one that has ended; −1: none
    std::int32_t code = 0;
    char text[1012] = {};
};

class GlooProcesses final : public Processes {
 public:
    GlooProcesses(const Launch& start, const fs::path& folder) : rank_(start.rank), size_(start.size) {
        if (start.host.empty()) {
            fs::create_directories(folder);
            store_ = c10::make_intrusive<c10d::FileStore>((folder / (".meeting-" + start.key)).string(),
                                                          static_cast<int>(size_));
            store_->setTimeout(to_meet);
        } else {
            c10d::TCPStoreOptions options;
            options.port = static_cast<std::uint16_t>(start.port);
            options.isServer = start.serves;
            options.numWorkers = static_cast<std::size_t>(size_);
            options.waitWorkers = false;
            options.timeout = to_meet;
            store_ = c10::make_intrusive<c10d::PrefixStore>("dtk-" + start.key,
                                                            c10::make_intrusive<c10d::TCPStore>(start.host, options));
        }
        const auto device = device_for(start.local_size == size_);
        all_ = group(store_, "all", rank_, size_, device);
        // Two by two, so that one that is silent takes no other connection with it.
        for (std::int64_t other = 1; other < size_; ++other)
            if (leads() || other == rank_)
                pulses_.push_back(
                    {leads() ? other : 0, group(store_, fmt::format("pulse/{}", other), leads() ? 0 : 1, 2, device)});
        all_->setTimeout(std::chrono::duration_cast<milliseconds>(without_end));
        beating_ = pulses_.size();
        for (auto& [other, pair] : pulses_)
            std::thread([this, other = other, pair = pair] { beat(other, *pair); }).detach();
        count_neighbours();
        wait();
        // The file has done what it was for.
        if (start.host.empty() && leads()) fs::remove(folder / (".meeting-" + start.key));
    }

    std::int64_t rank() const override { return rank_; }
    std::int64_t size() const override { return size_; }

    void sum(Tensor& x) override {
        std::vector<Tensor> all{x};
        finish(all_->allreduce(all));
    }

    Tensor gather(const Tensor& x) override {
        auto sizes = x.sizes().vec();
        sizes.insert(sizes.begin(), size_);
        auto all = at::empty(sizes, x.options()), one = x.contiguous(), flat = all.flatten();
        one = one.flatten();
        finish(all_->_allgather_base(flat, one));
        return all;
    }

    std::string told(const std::string& text) override {
        std::vector<Tensor> length{at::full({1}, static_cast<std::int64_t>(text.size()), at::kLong)};
        finish(all_->broadcast(length));
        const auto n = length[0].item<std::int64_t>();
        std::vector<Tensor> bytes{at::zeros({n + 1}, at::kByte)};
        if (leads()) std::memcpy(bytes[0].mutable_data_ptr(), text.data(), text.size());
        finish(all_->broadcast(bytes));
        return {static_cast<const char*>(bytes[0].const_data_ptr()), static_cast<std::size_t>(n)};
    }

    void wait() override {
        auto nothing = at::zeros({1}, at::kLong);
        sum(nothing);
    }

    Lost lost() const override {
        const std::lock_guard lock(mutex_);
        return !ended_ ? Lost::none : ended_->code == Ended::killed ? Lost::killed : Lost::left;
    }

    bool lost_leader() const override {
        const std::lock_guard lock(mutex_);
        return ended_ && ended_->rank == 0;
    }

    void check() const override {
        std::unique_lock lock(mutex_);
        if (!ended_) return;
        const auto ended = *ended_;
        lock.unlock();
        if (ended.code == Ended::killed) throw Error(sentence(ended), how_to_go_on);
        if (ended.text.empty()) throw LeaderDone{ended.code};
        if (ended.code == interrupted || ended.code == taken_back) throw Interrupted(ended.text);
        if (ended.code == mistaken) throw UserError(sentence(ended));
        if (ended.code == plugin_fault) throw PluginError(sentence(ended));
        throw Error(sentence(ended));
    }

    void leave(int code, const std::string& text) override {
        std::unique_lock lock(mutex_);
        left_ = Ended{rank_, code, text};
        changed_.notify_all();
        const auto alone = [this] { return beating_ == 0; };
        if (leads())
            changed_.wait_for(lock, seconds(5), alone);
        else
            changed_.wait(lock, alone);
    }

 private:
    static constexpr const char* how_to_go_on =
        "the run goes on from its newest checkpoint, with as many processes as there are then: --resume";

    std::string sentence(const Ended& ended) const {
        return ended.code == Ended::killed ? fmt::format("{} {}", name(ended.rank), ended.text)
                                           : fmt::format("{}: {}", name(ended.rank), ended.text);
    }

    /// How many of them are on this machine, whatever the launcher says.
    void count_neighbours() {
        const auto self = Owner::self();
        const auto here = static_cast<std::int64_t>(std::hash<std::string>()(self.host + " " + self.boot));
        share_machine((gather(at::full({}, here, at::kLong)) == here).sum().item<std::int64_t>());
    }

    /// Until it is done, or somebody has ended.
    void finish(const c10::intrusive_ptr<c10d::Work>& work) {
        for (;;) try {
                work->wait(milliseconds(500));
                return;
            } catch (const std::exception& error) {
                check();
                if (!work->isCompleted()) continue;
                // A connection broke: in a moment it is known whose.
                std::unique_lock lock(mutex_);
                changed_.wait_for(lock, seconds(5), [this] { return ended_.has_value(); });
                lock.unlock();
                check();
                throw Error(fmt::format("the connection to another process broke: {}", error.what()), how_to_go_on);
            }
    }

    void has_ended(Ended ended) {
        const std::lock_guard lock(mutex_);
        if (ended_) return;
        ended_ = std::move(ended);
        // So that what does not look at the others, such as sampling, ends too.
        stop_with(ended_->code == interrupted ? SIGINT : SIGTERM);
        changed_.notify_all();
        if (!ending_) std::thread([this] { end_late(); }).detach();
        ending_ = true;
    }

    /// Ends this process if it does not by itself.
    void end_late() {
        std::unique_lock lock(mutex_);
        if (changed_.wait_for(lock, to_end, [this] { return left_.has_value(); })) return;
        Progress::note("error: " + sentence(*ended_));
        Progress::note(std::string("  = help: ") + how_to_go_on);
        ::_exit(std::max(ended_->code, 1));
    }

    Pulse own_pulse(std::int64_t to) const {
        const std::lock_guard lock(mutex_);
        Pulse pulse{.signal = stop_signal()};
        const auto& ended = left_ ? left_ : ended_;
        if (!ended || ended->rank == to) return pulse;
        pulse.rank = static_cast<std::int32_t>(ended->rank);
        pulse.code = ended->code;
        ended->text.copy(pulse.text, sizeof pulse.text - 1);
        return pulse;
    }

    void heard(const Pulse& pulse) {
        if (pulse.signal != 0) stop_with(pulse.signal);
        if (pulse.rank < 0 || pulse.rank == rank_) return;
        // Who is not process 0 and has nothing more to do says so at the very end.
        if (pulse.code == 0 && pulse.rank != 0) return;
        has_ended({pulse.rank, pulse.code, pulse.text});
    }

    /// One says how it is, the other answers, until process 0 has said that it leaves.
    void beat(std::int64_t other, ProcessGroupGloo& pair) {
        const int peer = leads() ? 1 : 0;
        const auto limit = milliseconds(static_cast<std::int64_t>(1000 * silence() * (leads() ? 1 : 1.25)));
        auto bytes = at::zeros({static_cast<std::int64_t>(sizeof(Pulse))}, at::kByte);
        std::vector<Tensor> message{bytes};
        const auto say = [&](const Pulse& pulse) {
            std::memcpy(bytes.mutable_data_ptr(), &pulse, sizeof pulse);
            pair.send(message, peer, 0)->wait(limit);
        };
        const auto hear = [&] {
            pair.recv(message, peer, 0)->wait(limit);
            Pulse pulse;
            std::memcpy(&pulse, bytes.const_data_ptr(), sizeof pulse);
            pulse.text[sizeof pulse.text - 1] = 0;
            heard(pulse);
            return pulse;
        };
        const double began = monotonic_seconds();
        double last = began;
        try {
            for (bool over = false; !over; last = monotonic_seconds()) {
                if (leads()) {
                    hear();
                    const auto pulse = own_pulse(other);
                    say(pulse);
                    over = pulse.rank == 0;
                } else {
                    say(own_pulse(other));
                    over = hear().rank == 0;
                    if (over) break;
                    std::unique_lock lock(mutex_);
                    if (!left_)
                        changed_.wait_for(lock, between_pulses);
                    else
                        lock.unlock(), std::this_thread::sleep_for(between_pulses);
                }
            }
        } catch (const std::exception&) {
            const double quiet = monotonic_seconds() - last;
            has_ended({other, Ended::killed,
                       quiet > 0.9 * silence()
                           ? fmt::format("has not answered for {:.0f} seconds: is its machine gone?", quiet)
                           : std::string("ended without a word: was it killed, did memory run out?")});
        }
        const std::lock_guard lock(mutex_);
        --beating_;
        changed_.notify_all();
    }

    std::int64_t rank_, size_;
    c10::intrusive_ptr<c10d::Store> store_;
    c10::intrusive_ptr<ProcessGroupGloo> all_;
    std::vector<std::pair<std::int64_t, c10::intrusive_ptr<ProcessGroupGloo> > > pulses_;
    mutable std::mutex mutex_;
    std::condition_variable changed_;
    std::optional<Ended> ended_;  ///< the first of the others that has
    std::optional<Ended> left_;   ///< this one
    bool ending_ = false;
    std::size_t beating_ = 0;
};

}  // namespace

Processes* Processes::meet(const fs::path& folder) {
    const auto start = launch();
    if (!start) return nullptr;
    try {
        return new GlooProcesses(*start, folder);
    } catch (const UserError&) {
        throw;
    } catch (const std::exception& error) {
        const std::string why = error.what();
        throw Error(fmt::format("process {} of {} did not find the others: {}", start->rank, start->size,
                                why.substr(0, why.find('\n'))),
                    fmt::format("did {} start all of them, can they reach one another? GLOO_SOCKET_IFNAME names the "
                                "network interface",
                                start->by));
    }
}

std::string Processes::report() {
    std::string gloo = "works";
    try {
        const auto alone = group(c10::make_intrusive<c10d::HashStore>(), "alone", 0, 1, device_for(true));
        std::vector<Tensor> one{at::ones({1})};
        alone->allreduce(one)->wait(seconds(10));
        if (one[0].item<float>() != 1) gloo = "gives a wrong sum";
    } catch (const std::exception& error) {
        const std::string why = error.what();
        gloo = "does not work: " + why.substr(0, why.find('\n'));
    }
    return fmt::format(
        "processes  Gloo {}: torchrun, srun and mpirun can start several that train together on CPUs\n"
        "           NCCL is not built in: on GPUs a training is one process's\n",
        gloo);
}

#endif

}  // namespace dtk
