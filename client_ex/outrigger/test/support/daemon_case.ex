defmodule Outrigger.DaemonCase do
  @moduledoc false
  # What tests need to start servers, real and fake, and to look at what they leave behind.

  use ExUnit.CaseTemplate

  @fake Path.expand("fake_daemon.py", __DIR__)

  using do
    quote do
      import Outrigger.DaemonCase
      alias Outrigger.{ConnectionError, Error, InPlace, Op}
    end
  end

  @doc "Starts a server that ends with the test."
  def start_server(options \\ []) do
    name = :"server_#{System.unique_integer([:positive])}"
    options = Keyword.merge([name: name, threads: 1], options)
    start_supervised!({Outrigger, options})
    options[:name]
  end

  @doc "Starts one whose daemon behaves as the mode says (see fake_daemon.py)."
  def start_fake(mode, options \\ []) do
    start_server([daemon: @fake, args: ["--mode", mode]] ++ options)
  end

  def fake, do: @fake

  def os_pid(server), do: Outrigger.info!(server).os_pid
  def kill(os_pid, signal), do: :os.cmd(~c"kill -#{signal} #{os_pid}")
  def alive?(os_pid), do: Outrigger.Daemon.identity(os_pid) != nil

  def assert_os_pid_exited(os_pid, ms \\ 1000) do
    unless eventually(fn -> not alive?(os_pid) end, ms) do
      ExUnit.Assertions.flunk("process #{os_pid} is still there after #{ms} ms")
    end
  end

  def eventually(fun, ms \\ 2000) do
    cond do
      fun.() -> true
      ms <= 0 -> false
      true -> Process.sleep(10) && eventually(fun, ms - 10)
    end
  end

  @doc """
  A function's milliseconds and result. Limits on them leave half a second or more to a machine that has
  other work, which still tells an answer in time from a hang.
  """
  def timed(fun) do
    {us, result} = :timer.tc(fun)
    {div(us, 1000), result}
  end

  @doc "A program that computes for many seconds on any machine."
  def endless do
    Outrigger.program(fn x ->
      Outrigger.Op.while(x, &Outrigger.Op.greater(&1, -1.0), &Outrigger.Op.multiply(&1, 1.0))
    end)
  end
end
