program solver
  implicit none
  character(len=32) :: how
  integer :: step
  call get_command_argument(1, how)
  do step = 1, 12
     print '(a,i6,a,es12.4)', ' step ', step, ' residual ', 1.0d0 / step
  end do
  call fail(trim(how))
contains
  subroutine fail(how)
    character(len=*), intent(in) :: how
    integer, allocatable :: cells(:)
    real(8), allocatable :: field(:)
    integer :: unit, i, blocks, number
    real(8) :: zero
    namelist /grid/ blocks
    select case (how)
    case ('error_stop')
       error stop 'solver: number of blocks does not divide number of ranks'
    case ('stop_text')
       write (*, *) 'ERROR: unknown keyword "visocsity" in the input file'
       stop 1
    case ('stop_number')
       stop 3
    case ('normal')
       stop
    case ('no_file')
       open (newunit=unit, file='mesh/grid.dat', status='old')
    case ('bad_namelist')
       open (newunit=unit, file='run.nml', status='replace')
       write (unit, '(a)') '&grid blcoks = 4 /'
       close (unit)
       open (newunit=unit, file='run.nml', status='old')
       read (unit, nml=grid)
    case ('bad_number')
       open (newunit=unit, file='run.dat', status='replace')
       write (unit, '(a)') 'four'
       close (unit)
       open (newunit=unit, file='run.dat', status='old')
       read (unit, *) number
    case ('short_file')
       open (newunit=unit, file='field.bin', status='replace', form='unformatted', access='stream')
       write (unit) 1.0d0
       close (unit)
       allocate (field(100))
       open (newunit=unit, file='field.bin', status='old', form='unformatted', access='stream')
       read (unit) field
    case ('bounds')
       allocate (cells(10))
       do i = 1, 11
          cells(i) = i
       end do
       print *, cells
    case ('floating')
       zero = real(len_trim(how) - 8, 8)
       print *, zero / zero
    case ('allocate')
       allocate (field(900000000000000_8))
       field(1) = 1
       print *, field(1)
    case ('deallocate')
       deallocate (cells)
    case ('allocated_twice')
       allocate (cells(3))
       allocate (cells(4))
    case ('disk_full')
       open (newunit=unit, file='checkpoints/out.dat', status='replace', form='unformatted', access='stream')
       do i = 1, 4000
          write (unit) (1.0d0, number = 1, 200)
       end do
       close (unit)
    case ('format')
       print '(i4)', 1.5d0
    case ('abort')
       call abort()
    end select
  end subroutine fail
end program solver
