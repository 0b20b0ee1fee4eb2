# The Linux side of the fake: what Node cannot do. `init` is process 1 of a distro, in namespaces of its own, its root
# the distro's disk. `relay` starts one command in there, with a pseudo-terminal as its controlling terminal, and holds
# that terminal: when it ends, the command hears a hang-up. Only core modules, loaded before the root changes.
use strict;
use warnings;
no warnings 'exec';
use POSIX ();
use Fcntl qw(O_RDWR O_NOCTTY);

my $arm = (POSIX::uname())[4] eq 'aarch64';
my %call = $arm
  ? (pivot_root => 41, umount2 => 39, setns => 268, syncfs => 267)
  : (pivot_root => 155, umount2 => 166, setns => 308, syncfs => 306);
my ($TIOCSCTTY, $TIOCSPTLCK, $TIOCGPTN) = (0x540E, 0x40045431, 0x80045430);
my $MNT_DETACH = 2;

$| = 1;
my $role = shift @ARGV;
$role eq 'init' ? init(@ARGV) : relay(@ARGV);

sub must { system(@_) == 0 or die "@_ failed\n" }

sub init {
  my ($disk, $root, $shared, $hostname, $options) = @_;
  must('mount', '--make-rprivate', '/');
  must('mount', '-o', "loop$options", $disk, $root);
  unless ($options) { mkdir "$root/$_" for qw(proc sys dev run tmp mnt mnt/wsl) }
  must('mount', '-t', 'proc', 'proc', "$root/proc");
  must('mount', '--rbind', "/$_", "$root/$_") for qw(sys dev);
  must('mount', '-t', 'tmpfs', 'none', "$root/run");
  must('mount', '--bind', $shared, "$root/mnt/wsl") if -d "$root/mnt/wsl";
  must('hostname', $hostname);
  chdir $root or die "$root: $!\n";
  my $dot = '.';
  syscall($call{pivot_root}, $dot, $dot) == 0 or die "pivot_root: $!\n";
  syscall($call{umount2}, $dot, $MNT_DETACH) == 0 or die "umount: $!\n";
  chdir '/';
  $SIG{$_} = 'IGNORE' for qw(HUP INT TERM PIPE);
  $SIG{CHLD} = sub { 1 while waitpid(-1, POSIX::WNOHANG()) > 0 };
  print "ready\n";
  while (1) {
    my $read = sysread(STDIN, my $word, 1);
    last if defined $read && $read == 0;
  }
  # The service has let go: everything in here ends, and what was written is on the disk.
  kill 'KILL', -1;
  1 while waitpid(-1, 0) > 0;
  opendir(my $top, '/');
  syscall($call{syncfs}, fileno($top));
  POSIX::_exit(0);
}

# Descriptors: 0 the service (its end: end at once), 1 reports, 3 4 5 the command's own three.
sub relay {
  my ($init, $user, $folder, @command) = @_;
  sysopen(my $master, '/dev/ptmx', O_RDWR | O_NOCTTY) or die "ptmx: $!\n";
  my ($unlock, $number) = (pack('i', 0), pack('i', 0));
  ioctl($master, $TIOCSPTLCK, $unlock) // die "unlock: $!\n";
  ioctl($master, $TIOCGPTN, $number) // die "number: $!\n";
  sysopen(my $terminal, '/dev/pts/' . unpack('i', $number), O_RDWR | O_NOCTTY) or die "pts: $!\n";
  my @spaces = map { open(my $space, '<', "/proc/$init/ns/$_") or die "gone\n"; $space } qw(uts pid mnt);
  syscall($call{setns}, fileno($_), 0) == 0 or die "setns: $!\n" for @spaces;
  chdir '/';

  pipe(my $ended, my $tell);
  $SIG{CHLD} = sub { syswrite($tell, 'x') };
  $SIG{PIPE} = 'IGNORE';
  my $child = fork() // die "fork: $!\n";
  if ($child == 0) {
    $SIG{$_} = 'DEFAULT' for qw(PIPE CHLD);
    POSIX::setsid();
    ioctl($terminal, $TIOCSCTTY, 0) // die "ctty: $!\n";
    POSIX::dup2($_ + 3, $_) for 0 .. 2;
    POSIX::close($_) for 3 .. 20;
    begin($user, $folder, @command);
  }
  print "pid $child\n";
  POSIX::close($_) for 3 .. 5;
  close $terminal;
  while (1) {
    my $ready = '';
    vec($ready, fileno($_), 1) = 1 for \*STDIN, $master, $ended;
    next if select($ready, undef, undef, undef) < 0;
    if (vec($ready, 0, 1)) { POSIX::_exit(0) if (sysread(STDIN, my $word, 64) // 0) == 0 }
    if (vec($ready, fileno($ended), 1)) {
      sysread($ended, my $mark, 64);
      if (waitpid($child, POSIX::WNOHANG()) == $child) {
        my ($signal, $core) = ($? & 127, $? & 128);
        print 'exit ', ($signal ? $signal + $core : $? >> 8), "\n";
      }
    }
    # Nobody reads that terminal; but whoever writes to it must not wait. Its last writer's end is no news.
    if (vec($ready, fileno($master), 1) && !sysread($master, my $lost, 4096)) { select(undef, undef, undef, 0.02) }
  }
}

sub complain { syswrite(STDERR, "<3>WSL ($$ - Relay) ERROR: CreateProcessCommon:$_[0]\n") }

sub begin {
  my ($user, $folder, @command) = @_;
  my ($name, $uid, $gid, $home, $shell);
  my $has_users = open(my $users, '<', '/etc/passwd');
  while ($has_users && defined(my $line = <$users>)) {
    chomp $line;
    my @field = split /:/, $line;
    ($name, $uid, $gid, $home, $shell) = @field[0, 2, 3, 5, 6] if $field[0] eq $user || $user eq "#$field[2]";
    last if defined $name;
  }
  ($name, $uid, $gid, $home, $shell) = ('root', 0, 0, '/root', '/bin/sh') if !defined $name && $user eq '#0';
  if (!defined $name) {
    complain("703: getpwnam($user) failed 0");
    POSIX::_exit(67);
  }
  my @groups = ($gid);
  my $has_groups = open(my $groups, '<', '/etc/group');
  while ($has_groups && defined(my $line = <$groups>)) {
    chomp $line;
    my @field = split /:/, $line;
    push @groups, $field[2] if grep { $_ eq $name } split /,/, $field[3] // '';
  }
  $) = "$gid @groups";
  POSIX::setgid($gid);
  POSIX::setuid($uid);
  $shell ||= '/bin/sh';
  @ENV{qw(HOME USER LOGNAME SHELL)} = ($home, $name, $name, $shell);
  $ENV{LD_PRELOAD} = delete $ENV{INSIDE_LD_PRELOAD} if $ENV{INSIDE_LD_PRELOAD};
  $folder = $home if $folder eq '~';
  chdir $folder or complain("798: chdir($folder) failed " . ($! + 0));
  # Without a program: the user's shell reads the line, or is there to be spoken to.
  my $mode = shift @command;
  @command = ($shell, '-c', @command) if $mode eq 'shell';
  @command = ($shell, '-l') if $mode eq 'login';
  # Whatever this program itself has of the service's is not for the command.
  exec { $command[0] } @command;
  complain("818: execvpe($command[0]) failed: $!");
  POSIX::_exit(1);
}
