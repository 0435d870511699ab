defmodule Outrigger.SaveTest do
  # The files that a daemon leaves in the folder when it is killed during a save.
  use Outrigger.DaemonCase, async: true

  @bytes 200_000_000

  setup do
    folder = Path.join(System.tmp_dir!(), "outrigger_save_#{System.unique_integer([:positive])}")
    File.mkdir_p!(folder)
    on_exit(fn -> File.rm_rf!(folder) end)
    %{folder: folder}
  end

  # The files in the folder that the daemon has open. A file `…/#123 (deleted)` has no name.
  defp open_files(os_pid, folder) do
    for entry <- File.ls!("/proc/#{os_pid}/fd"),
        {:ok, path} <- [File.read_link("/proc/#{os_pid}/fd/#{entry}")],
        String.starts_with?(path, folder <> "/"),
        do: path
  end

  defp await_open(os_pid, folder) do
    case open_files(os_pid, folder) do
      [] -> await_open(os_pid, folder)
      [path] -> path
    end
  end

  # Stops the daemon in the middle of a save. A save that ended before is begun again.
  defp stop_within(save, os_pid, folder, path) do
    File.write!(path, "old")
    saving = Task.async(save)
    open = await_open(os_pid, folder)
    kill(os_pid, "STOP")

    if open in open_files(os_pid, folder) do
      {saving, open}
    else
      kill(os_pid, "CONT")
      Task.await(saving)
      stop_within(save, os_pid, folder, path)
    end
  end

  for function <- [:save_npy, :save_npz] do
    test "#{function}: no file, or a file that the next daemon removes", %{folder: folder} do
      server = start_server(log: :none)
      path = Path.join(folder, "x")

      for _ <- 1..2 do
        tensor = Outrigger.await!(Outrigger.iota(server, {@bytes}, type: :u8))
        pid = os_pid(server)

        save =
          case unquote(function) do
            :save_npy -> fn -> Outrigger.save_npy(tensor, path) end
            :save_npz -> fn -> Outrigger.save_npz([x: tensor], path) end
          end

        {saving, open} = stop_within(save, pid, folder, path)
        kill(pid, "KILL")
        assert {:error, %ConnectionError{reason: reason}} = Task.await(saving)
        assert died?(reason)
        assert File.read!(path) == "old"
        :ok = Outrigger.await_ready(server)

        if String.ends_with?(open, "(deleted)") do
          assert File.ls!(folder) == ["x"]
        else
          assert length(File.ls!(folder)) == 2
        end

        small = Outrigger.tensor(server, [1])
        assert Outrigger.save_npy(small, Path.join(folder, "small.npy")) == :ok
        assert Enum.sort(File.ls!(folder)) == ["small.npy", "x"]
        File.rm!(Path.join(folder, "small.npy"))
      end
    end
  end

  test "a read-only file is not replaced", %{folder: folder} do
    server = start_server(log: :none)
    path = Path.join(folder, "x.npy")
    tensor = Outrigger.tensor(server, [1, 2])
    File.write!(path, "old")
    File.chmod!(path, 0o444)

    for save <- [&Outrigger.save_npy/2, &Outrigger.save_npz([x: &1], &2)] do
      assert {:error, %Error{code: :bad_file, message: text}} = save.(tensor, path)
      assert text =~ path and text =~ "is read-only: change its mode, or save elsewhere"
      assert File.read!(path) == "old"
    end

    File.chmod!(path, 0o644)
    assert Outrigger.save_npy(tensor, path) == :ok
    assert File.ls!(folder) == ["x.npy"]
  end
end
