{
  description = "Self-hosted telemetry server for deployed Mattermost containers";

  # Four inputs, none of which brings a further one: rust-overlay uses our nixpkgs, crane has none.
  inputs = {
    nixpkgs.url = "github:NixOS/nixpkgs/nixos-26.05";
    crane.url = "github:ipetkov/crane";
    rust-overlay = {
      url = "github:oxalica/rust-overlay";
      inputs.nixpkgs.follows = "nixpkgs";
    };
    advisory-db = {
      url = "github:rustsec/advisory-db";
      flake = false;
    };
  };

  outputs =
    {
      self,
      nixpkgs,
      crane,
      rust-overlay,
      advisory-db,
    }:
    let
      inherit (nixpkgs) lib;
      systems = [
        "x86_64-linux"
        "aarch64-linux"
      ];
      forAllSystems = f: lib.genAttrs systems (system: f nixpkgs.legacyPackages.${system});

      manifest = (lib.importTOML ./Cargo.toml).package;
      pname = manifest.name; # also the name of the binary
      inherit (manifest) version;
      muslTarget = "aarch64-unknown-linux-musl";
      port = 8080;
      # The user of the server in a container: no name, so that no image needs an /etc/passwd.
      owner = "65532:65532";

      # Cargo.toml's rust-version is the one place that names the compiler. A rust-toolchain.toml
      # would make rustup download a second one on machines that already have a good one.
      toolchainFor =
        p:
        (rust-overlay.lib.mkRustBin { } p).fromRustupToolchain {
          channel = manifest.rust-version;
          profile = "default";
          targets = [ muslTarget ];
        };

      craneFor = p: (crane.mkLib p).overrideToolchain toolchainFor;

      # The files of a build, chosen so that a change to a page or to a compose file rebuilds nothing.
      srcFor =
        craneLib:
        lib.fileset.toSource {
          root = ./.;
          fileset = lib.fileset.unions [
            # *.rs, Cargo.lock and every *.toml: .cargo/config.toml, clippy.toml, deny.toml …
            (craneLib.fileset.commonCargoSources ./.)
            # Files that the macros read at compile time.
            ./.sqlx
            ./migrations
            (lib.fileset.fileFilter (file: file.hasExt "sql" || file.hasExt "json") ./src)
            # Embedded in the binary.
            ./grafana
            ./prometheus
            ./templates
            # Read by tests and benches.
            (lib.fileset.fileFilter (file: file.hasExt "snap" || file.hasExt "lua") ./.)
            (lib.fileset.maybeMissing ./tests)
          ];
        };

      # Everything that is made from one package set, which may be a cross set.
      mkService =
        p:
        let
          craneLib = craneFor p;
          src = srcFor craneLib;
          commonArgs = {
            inherit pname version src;
            strictDeps = true;
            # No database in the sandbox: the query macros read .sqlx. Everything else that a
            # build needs, such as the flags of the static binary, is in .cargo/config.toml.
            env.SQLX_OFFLINE = "true";
          };
          cargoArtifacts = craneLib.buildDepsOnly commonArgs;
          service = craneLib.buildPackage (
            commonArgs
            // {
              inherit cargoArtifacts;
              doCheck = false; # the tests are a check of their own
              meta = {
                inherit (manifest) description;
                license = lib.licenses.mit;
                mainProgram = pname;
                platforms = lib.platforms.linux;
              };
            }
          );
        in
        {
          inherit
            craneLib
            src
            commonArgs
            cargoArtifacts
            service
            ;
        };

      muslFor = pkgs: mkService pkgs.pkgsCross.aarch64-multiplatform-musl;

      # The same image as the Dockerfile's on `scratch`: same paths, user, volume and settings.
      imageFor =
        pkgs:
        let
          binary = (muslFor pkgs).service;
          path = "/usr/bin/${pname}";
        in
        pkgs.dockerTools.buildLayeredImage {
          name = "imbios/${pname}";
          tag = version;
          architecture = "arm64";
          # No `created`: the image's digest depends on its content alone.
          extraCommands = ''
            mkdir -p usr/bin
            ln -s ${lib.getExe binary} usr/bin/${pname}
          '';
          fakeRootCommands = ''
            install -d -m 0755 -o 65532 -g 65532 ./data
          '';
          config = {
            Entrypoint = [ path ];
            User = owner;
            WorkingDir = "/data";
            Env = [
              "SERVER_ADDRESS=0.0.0.0:${toString port}"
              "DATABASE_URL=sqlite:///data/telemetry.db"
              "SQLITE_TMPDIR=/data"
            ];
            ExposedPorts."${toString port}/tcp" = { };
            Volumes."/data" = { };
            StopSignal = "SIGTERM";
            Healthcheck = {
              Test = [
                "CMD"
                path
                "healthcheck"
              ];
              # Nanoseconds, as the image format wants them.
              Interval = 10 * 1000 * 1000 * 1000;
              Timeout = 5 * 1000 * 1000 * 1000;
              StartPeriod = 60 * 1000 * 1000 * 1000;
              Retries = 3;
            };
            Labels = {
              "org.opencontainers.image.title" = pname;
              "org.opencontainers.image.description" = manifest.description;
              "org.opencontainers.image.licenses" = manifest.license;
              "org.opencontainers.image.version" = version;
            };
          };
        };

      # A NixOS system that uses the module with every option that changes the unit.
      exampleSystem =
        system:
        lib.nixosSystem {
          modules = [
            self.nixosModules.default
            {
              nixpkgs.hostPlatform = system;
              system.stateVersion = "26.05";
              boot.loader.grub.enable = false;
              fileSystems."/" = {
                device = "none";
                fsType = "tmpfs";
              };
              services.mattermost-telemetry = {
                enable = true;
                address = "::";
                openFirewall = true;
                databaseUrl = "sqlite:///var/lib/mattermost-telemetry/100%25.db";
                readTokenFile = "/run/keys/telemetry-token";
                trustedProxies = [ "127.0.0.1/32" ];
                retentionDays = 365;
                backupDir = "/var/lib/mattermost-telemetry/backups";
                publicView = true;
              };
            }
          ];
        };
    in
    {
      packages = forAllSystems (pkgs: {
        default = (mkService pkgs).service;
        aarch64-musl = (muslFor pkgs).service;
        image = imageFor pkgs;
        # A virtual machine that runs the module. Needs /dev/kvm, so it is built by name
        # (`nix build .#vm-test`) and is not a check.
        vm-test = pkgs.testers.runNixOSTest {
          name = "${pname}-vm";
          nodes.machine = {
            imports = [ self.nixosModules.default ];
            services.mattermost-telemetry.enable = true;
          };
          testScript = ''
            base = "http://127.0.0.1:${toString port}"
            report = '{"instance_id":"0123456789abcdef0123456789abcdef","image_version":"v11.0.0",' \
                '"architecture":"aarch64","os":"Linux","container_runtime":"docker",' \
                '"startup_time_ms":2500,"db_type":"postgres","telemetry_version":"1.0"}'
            machine.wait_for_unit("${pname}.service")
            machine.wait_until_succeeds(f"curl --fail --silent {base}/ready", timeout=60)
            machine.succeed(
                f"curl --fail --silent --json '{report}' {base}/collect"
            )
            machine.succeed("systemctl kill --signal=KILL ${pname}.service")
            machine.wait_until_succeeds(f"curl --fail --silent {base}/ready", timeout=60)
            machine.succeed(f"curl --fail --silent {base}/metrics | grep -q '\"total_deployments\":1'")
          '';
        };
      });

      nixosModules.default = import ./nix/module.nix self;

      checks = forAllSystems (
        pkgs:
        let
          inherit (pkgs.stdenv.hostPlatform) system;
          native = mkService pkgs;
          inherit (native) craneLib src commonArgs;
          withDeps = commonArgs // {
            inherit (native) cargoArtifacts;
          };
        in
        {
          build = native.service;

          fmt = craneLib.cargoFmt { inherit pname version src; };

          clippy = craneLib.cargoClippy (
            withDeps // { cargoClippyExtraArgs = "--all-targets -- --deny warnings"; }
          );

          # Tests that need a container engine are marked `#[ignore]`, so that no filter is
          # needed here: the sandbox has no engine.
          tests = craneLib.cargoNextest (
            withDeps
            // {
              # Tests may hold any file of the checkout to its word, pages and stacks included.
              src = ./.;
              env = commonArgs.env // {
                INSTA_UPDATE = "no";
              };
            }
          );

          doc = craneLib.cargoDoc (
            withDeps
            // {
              cargoDocExtraArgs = "--no-deps";
              env = commonArgs.env // {
                RUSTDOCFLAGS = "--deny warnings";
              };
            }
          );

          # Bans, licences and sources need no network; advisories are the next check's.
          deny = craneLib.cargoDeny { inherit pname version src; };

          audit = craneLib.cargoAudit {
            inherit
              pname
              version
              src
              advisory-db
              ;
          };

          # The real binary on a fresh database, twice: the second start finds its migrations done.
          smoke = pkgs.runCommand "${pname}-smoke" { nativeBuildInputs = [ pkgs.curl ]; } ''
            export SERVER_ADDRESS=127.0.0.1:${toString port}
            export DATABASE_URL="sqlite://$TMPDIR/folder/telemetry.db"
            for round in 1 2; do
              ${lib.getExe native.service} serve & server=$!
              curl --fail --silent --retry 30 --retry-delay 1 --retry-connrefused \
                http://$SERVER_ADDRESS/health
              ${lib.getExe native.service} healthcheck
              kill "$server"
              wait "$server"
            done
            touch $out
          '';

          # The static binary: for AArch64, with no interpreter, no library, no text relocation.
          static = pkgs.runCommand "${pname}-static" { nativeBuildInputs = [ pkgs.binutils ]; } ''
            file=${lib.getExe (muslFor pkgs).service}
            readelf --wide --file-header --program-headers --dynamic "$file" > facts
            grep --quiet AArch64 facts
            if grep --extended-regexp 'INTERP|NEEDED|TEXTREL' facts; then exit 1; fi
            test "$(stat --dereference --format %s "$file")" -le 8388608
            cp facts $out
          '';

          image = imageFor pkgs;

          # Evaluates the NixOS module and has systemd read the unit that comes out. `.ci/module.nix`
          # has the rest of what is wanted of it.
          module =
            let
              inherit (exampleSystem system) config;
              unit = config.systemd.units."${pname}.service".unit;
            in
            pkgs.runCommand "${pname}-module" { nativeBuildInputs = [ pkgs.systemd ]; } ''
              unit=${unit}/${pname}.service
              grep --fixed-strings 'SERVER_ADDRESS=[::]:' "$unit"
              grep --fixed-strings '/100%%25.db' "$unit"
              grep 'After=.*time-sync.target' "$unit"
              systemd-analyze security --offline=true --threshold=15 "$unit" | tee $out
            '';
        }
      );

      devShells = forAllSystems (
        pkgs:
        let
          inherit (mkService pkgs) craneLib;
        in
        {
          default = craneLib.devShell {
            packages = with pkgs; [
              actionlint
              cargo-audit
              cargo-deny
              cargo-fuzz
              cargo-insta
              cargo-nextest
              cargo-zigbuild # runs zig, below
              curl
              docker-client # with buildx and Compose; the engine is the machine's own
              hyperfine
              prometheus
              prometheus.cli # promtool
              sqlite
              sqlx-cli
              wrk
              zig
            ];
          };
        }
      );

      formatter = forAllSystems (pkgs: pkgs.nixfmt-tree);
    };
}
