"""The two known boards: their command tables in the order of `help` (console 5), and their kernels."""

from sim.flash.facts import KernelFacts
from sim.msh import kernels
from sim.msh.builtin import env, files, network, system
from sim.msh.builtin.fal import fal_command
from sim.msh.builtin.sf import sf_command
from sim.msh.builtin.wifi import wifi, wwd_bus_command
from sim.msh.commands import Command
from sim.msh.kernel import is_kernel_4


def kernel_profile(facts: KernelFacts) -> kernels.Profile:
    """What the kernel of a board holds."""
    return kernels.iot_board if is_kernel_4(facts) else kernels.manual_board


def board_commands(facts: KernelFacts) -> tuple[Command, ...]:
    """The table for one run of a board with that kernel."""
    return iot_board_commands() if is_kernel_4(facts) else manual_board_commands()


def iot_board_commands() -> tuple[Command, ...]:
    """The IoT Board's table for one run of the board; some commands remember what they selected."""
    return (
        env.setenv,
        env.printenv,
        env.saveenv,
        env.getvalue,
        env.resetenv,
        fal_command(),
        network.wget,
        system.list_fd,
        sf_command(),
        wifi,
        system.version,
        *system.LISTS,
        system.show_help,
        files.ls,
        files.cp,
        files.mv,
        files.cat,
        files.rm,
        files.cd,
        files.pwd,
        files.mkdir,
        files.mkfs,
        files.df,
        files.echo,
        system.ps,
        system.time,
        system.free,
        network.ifconfig,
        network.ping,
        network.dns,
        network.netstat,
        system.reboot,
        system.cloud_init,
        wwd_bus_command(),
    )


def manual_board_commands() -> tuple[Command, ...]:
    """The table of the manual's board. What comes behind `cp` is an assumption."""
    return (
        system.version,
        *(each for each in system.LISTS if each.name != "list_memheap"),
        system.leave,
        system.show_help,
        files.ls,
        files.cp,
        files.mv,
        files.cat,
        files.rm,
        files.cd,
        files.pwd,
        files.mkdir,
        files.mkfs,
        files.df,
        files.echo,
        network.ifconfig,
        network.dns,
        network.netstat,
        system.ps,
        system.time,
        system.free,
        env.setenv,
        env.printenv,
        env.saveenv,
        env.getvalue,
        env.resetenv,
        system.reboot,
        system.cloud_init,
    )
