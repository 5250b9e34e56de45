#include "base/launch.hpp"

#include <cctype>
#include <charconv>

#include <fmt/format.h>

#include "base/engine.hpp"
#include "base/words.hpp"

namespace dtk {

namespace {

/// A whole number from `least` on. Errors: UserError naming the variable.
std::int64_t number(const char* name, std::int64_t least) {
    const auto text = environment(name);
    std::int64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size() || value < least)
        throw UserError(text.empty() ? fmt::format("{} is not set", name)
                                     : fmt::format("{} = {} is no whole number from {} on", name, text, least),
                        "start the processes with torchrun, srun or mpirun, which set it; or unset RANK and WORLD_SIZE "
                        "to run alone");
    return value;
}

std::int64_t number_or(const char* name, std::int64_t otherwise) {
    return environment(name).empty() ? otherwise : number(name, 1);
}

/// torchrun, or whoever sets the same by hand.
Launch by_torchrun() {
    Launch launch{.rank = number("RANK", 0), .size = number("WORLD_SIZE", 1), .by = "torchrun"};
    if (launch.size == 1) return launch;
    launch.local_size = number_or("LOCAL_WORLD_SIZE", 0);
    launch.host = environment("MASTER_ADDR");
    if (launch.host.empty())
        throw UserError(fmt::format("WORLD_SIZE = {} and MASTER_ADDR is not set", launch.size),
                        "say where the processes meet: MASTER_ADDR=host of process 0, MASTER_PORT=a free port there");
    launch.port = number("MASTER_PORT", 1);
    // torchrun's agent may keep the store itself.
    launch.serves = launch.rank == 0 && environment("TORCHELASTIC_USE_AGENT_STORE") != "True";
    // A store that outlives a restart still holds what was said before it.
    launch.key = "restart" + environment("TORCHELASTIC_RESTART_COUNT");
    return launch;
}

/// A step of srun. The script of a job has SLURM_NTASKS too, and is one process.
Launch by_srun() {
    Launch launch{.rank = number("SLURM_PROCID", 0), .size = number("SLURM_STEP_NUM_TASKS", 1), .by = "srun"};
    if (environment("SLURM_STEP_NUM_NODES") == "1") launch.local_size = launch.size;
    launch.key = fmt::format("slurm-{}.{}.{}", environment("SLURM_JOB_ID"), environment("SLURM_STEP_ID"),
                             environment("SLURM_RESTART_COUNT"));
    return launch;
}

Launch by_mpirun() {
    Launch launch{.rank = number("OMPI_COMM_WORLD_RANK", 0), .size = number("OMPI_COMM_WORLD_SIZE", 1), .by = "mpirun"};
    launch.local_size = number_or("OMPI_COMM_WORLD_LOCAL_SIZE", 0);
    const auto start = environment("PMIX_NAMESPACE") + " " + environment("OMPI_MCA_orte_hnp_uri");
    if (start == " ")
        throw UserError("neither PMIX_NAMESPACE nor OMPI_MCA_orte_hnp_uri is set: the processes have no name in common",
                        "start them with Open MPI's mpirun, or set RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT");
    launch.key = "mpi-";
    for (const unsigned char c : start) launch.key += std::isalnum(c) ? static_cast<char>(c) : '-';
    return launch;
}

}  // namespace

std::optional<Launch> launch() {
    Launch launch;
    if (!environment("RANK").empty() || !environment("WORLD_SIZE").empty())
        launch = by_torchrun();
    else if (!environment("OMPI_COMM_WORLD_SIZE").empty())
        launch = by_mpirun();
    else if (!environment("SLURM_STEP_NUM_TASKS").empty())
        launch = by_srun();
    if (launch.rank >= launch.size)
        throw UserError(fmt::format("this is said to be process {} of {}", launch.rank, launch.size),
                        "they count from 0");
    return launch.size > 1 ? std::optional(launch) : std::nullopt;
}

void forget_launch() {
    for (const char* name : {"RANK", "WORLD_SIZE", "OMPI_COMM_WORLD_SIZE", "SLURM_STEP_NUM_TASKS"}) ::unsetenv(name);
}

}  // namespace dtk
